"""Kill the real daemon with its real workers, before a call that strace counts.

The main process alone is traced: workers must notice by themselves. The traps of this method:
the killed call is not executed; `when` counts each call by itself; `--seccomp-bpf` silently
drops the signal, so it is not used, and each planned kill is asked for.
"""

# ruff: noqa: PLR0913 - a sweep has many knobs

import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import crew
import sweeps

CALLS = (
    "write,pwrite64,fsync,fdatasync,syncfs,renameat,renameat2,rename,"
    "unlink,unlinkat,mkdir,mkdirat,rmdir,link,linkat,ftruncate"
)
DRAIN = [sys.executable, "-m", "resumed.cli", "drain", "--home"]
LIMIT_SECONDS = 60


def available():
    """Say why this sweep cannot run here, or None."""
    return None if shutil.which("strace") else "strace is not installed"


def drain(home, effects, trace=(), limit_seconds=LIMIT_SECONDS):
    """Run the real program; return its status, negative for a signal."""
    with open(f"{effects}.err", "wb") as errors:
        ended = subprocess.run(
            [*trace, *DRAIN, str(home)],
            stdin=subprocess.DEVNULL,
            stdout=errors,
            stderr=errors,
            env=os.environ | {"PROOF_EFFECTS": effects},
            timeout=limit_seconds,
            check=False,
        )
    return ended.returncode


def plan(gold, folder):
    """List (call, which one) of a run, for each call that touches the home or a worker."""
    home, effects = gold.copy(folder)
    log = f"{effects}.strace"
    drain(home, effects, ["strace", "-y", "-qq", "-o", log, "-e", f"trace={CALLS}"])
    counts, found = Counter(), []
    for line in Path(log).read_text(errors="replace").splitlines():
        call = line.partition("(")[0]
        if not re.fullmatch(r"[a-z0-9_]+", call):
            continue
        counts[call] += 1
        if str(home) in line or "pipe:" in line:
            found.append((call, counts[call]))
    shutil.rmtree(folder)
    return found


def judge(gold, folder, call, number):
    """Kill once, start twice, judge."""
    home, effects = gold.copy(folder)
    inject = ["-e", f"trace={call}", "-e", f"inject={call}:signal=SIGKILL:when={number}"]
    status = drain(home, effects, ["strace", "-qq", "-o", "/dev/null", *inject])
    killed = status in (-9, 137)
    before, past = len(sweeps.effects_of(effects)), sweeps.recorded_done(home, effects)
    faults = []
    for turn in (1, 2):
        status = drain(home, effects)
        if status not in sweeps.FINE:
            faults.append(f"start {turn} refused with {status}: {sweeps.said(effects)}")
    if not faults:
        faults = sweeps.judge_end(
            home, effects, gold.tokens, crashes=1, before=before, past=past
        ) + attempts_used_twice(effects)
    shutil.rmtree(folder)
    return killed, faults


def attempts_used_twice(effects):
    """An attempt's number is never given out again, whoever died."""
    begun = Counter(tuple(line[2:4]) for line in sweeps.effects_of(effects) if line[0] == "begin")
    return [f"attempt {each} was begun twice" for each, count in begun.items() if count > 1]


def run(gold, folder, *, limit=None, seed=1, processes=2, until=None):
    """Sweep over the calls of a run, or over a sample of them."""
    cases = plan(gold, Path(folder) / "plan")
    random.Random(seed).shuffle(cases)
    row, begun = sweeps.Row("SIGKILL, real workers"), time.monotonic()
    row.known = len(cases)

    def one(number, case):
        place = Path(folder) / f"r{os.getpid()}-{number}"
        try:
            return judge(gold, place, *case)
        except (OSError, subprocess.SubprocessError) as error:
            shutil.rmtree(place, ignore_errors=True)
            return True, [f"the harness stumbled: {error!r}"]

    limits = {"processes": processes, "until": until, "limit_seconds": 4 * LIMIT_SECONDS}
    for case, answer in crew.play(cases[:limit], one, **limits):
        row.add(f"kill before {case[0]} #{case[1]}", *(answer or (True, [crew.HANGS])))
    missed = row.cases - row.happened
    # With real workers the number of calls differs from run to run, by a few.
    if missed > max(1, row.cases // 5):
        row.faults["harness"] += missed
        row.examples["harness"] = f"{missed} of {row.cases} kills did not happen"
    row.seconds = time.monotonic() - begun
    return row
