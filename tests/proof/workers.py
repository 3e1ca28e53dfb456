"""Let handlers do their worst to their workers, beside items that do nothing wrong.

One home, one drain by the real program; each file's name says what its handler does.
"""

import os
import shutil
import subprocess
import time
from pathlib import Path

import oracle
import reals
import stage
import sweeps

CONFIG = """
handler = "handler:process"
settle = "0s"
timeout = "10s"
workers = 2
[retry]
max_attempts = 1
"""
HANDLER = """
import ctypes, os, resource, signal, subprocess, sys, threading, time


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


def detach():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(600)
        os._exit(0)


def append(path):
    with open(path, "a") as file:
        file.write("more")


def starve():
    resource.setrlimit(resource.RLIMIT_AS, (1 << 29, 1 << 29))
    return len(bytes(1 << 31))


def spew():
    for _ in range(1 << 10):
        os.write(1, b"x" * (1 << 20))


class Unshowable(Exception):
    def __str__(self):
        raise RuntimeError


def unshowable():
    raise Unshowable


def shout():
    raise ValueError("\\udcff\\x1b[31m\\u202e" * 100_000)


def process(item):
    what, _, number = item.name.partition("-")
    deed = {
        "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
        "crashed": lambda: ctypes.string_at(0),
        "exits": lambda: os._exit(int(number)),
        "leaves": lambda: sys.exit(int(number)),
        "stopped": lambda: os.kill(os.getpid(), signal.SIGSTOP),
        "sleeps": lambda: time.sleep(600),
        "deaf": lambda: (signal.signal(signal.SIGTERM, signal.SIG_IGN), time.sleep(600)),
        "spews": spew,
        "closes": lambda: os.closerange(0, 200),
        "detaches": detach,
        "child": lambda: subprocess.Popen(["sleep", "600"]) and None,
        "thread": lambda: threading.Thread(target=time.sleep, args=(600,), daemon=True).start(),
        "vanishes": lambda: os.unlink(item.path) or 1 / 0,
        "taken": lambda: os.unlink(item.path),
        "changes": lambda: append(item.path),
        "changed": lambda: append(item.path) if item.attempt == 1 else None,
        "starves": starve,
        "nested": lambda: nested(int(number)),
        "huge": lambda: "x" * (1 << 20),
        "nan": lambda: float("nan"),
        "bytes": lambda: b"x",
        "unshowable": unshowable,
        "shouts": shout,
        "tidies": lambda: os.rmdir(os.path.dirname(item.path)),
        "chdirs": lambda: os.chdir("/"),
        "fine": lambda: {"ok": True},
    }[what]
    return deed()
"""
LIMIT_SECONDS = 300  # for three hundred deeds, some of which last until the timeout
FAILED, DONE, GONE, ANY = "failed", "done", "", "failed or done"
DEEDS = {
    "killed": FAILED,
    "crashed": FAILED,
    **{f"exits-{number}": FAILED for number in range(256)},
    "leaves-0": ANY,
    "leaves-1": FAILED,
    "stopped": FAILED,
    "sleeps": FAILED,
    "deaf": FAILED,
    "spews": DONE,
    "closes": ANY,
    "detaches": DONE,
    "child": DONE,
    "thread": DONE,
    "vanishes": GONE,
    "taken": GONE,
    "changes": FAILED,
    "changed": DONE,
    "starves": FAILED,
    "nested-50": DONE,
    **{f"nested-{depth}": ANY for depth in (200, 500, 900, 930, 950, 970, 985, 990, 2000)},
    "huge": FAILED,
    "nan": ANY,
    "bytes": FAILED,
    "unshowable": FAILED,
    "shouts": FAILED,
    "tidies": FAILED,
    "chdirs": DONE,
    **{f"fine-{number}": DONE for number in range(12)},
}


def run(folder):
    """Drain once, start again twice, and compare every file's end with what is expected."""
    home = stage.make(Path(folder) / "workers")
    (home / "resumed.toml").write_text(CONFIG)
    (home / "handler.py").write_text(HANDLER)
    for name in DEEDS:
        stage.drop(home, name)
    effects = str(Path(folder) / "workers.effects")
    begun = time.monotonic()
    row = sweeps.Row("workers' worst deeds")
    status = reals.drain(home, effects, limit_seconds=LIMIT_SECONDS)
    if status not in sweeps.FINE:
        row.add("drain", True, [f"refused with {status}: {sweeps.said(effects)}"])
    kept = journal(home)
    for turn in (1, 2):
        status = reals.drain(home, effects)
        if status not in sweeps.FINE:
            row.add(f"start {turn}", True, [f"refused with {status}: {sweeps.said(effects)}"])
        changed, kept = kept, journal(home)
    if changed != kept:
        row.add("another start", True, ["a start without work changes the journal"])
    seen = oracle.look(home)
    for name, wanted in DEEDS.items():
        row.add(name, True, faults_of(seen, name, wanted))
    row.add("the whole", True, seen.faults + oracle.leftovers(home) + left_running(home))
    row.seconds = time.monotonic() - begun
    shutil.rmtree(home)
    return row


def journal(home):
    return (home / "state" / "journal.jsonl").read_bytes()


def faults_of(seen, name, wanted):
    """Say where a file is that should be elsewhere."""
    places = [
        p for token, found in seen.files.items() for p in found if os.path.basename(p) == name
    ]
    ended = [each.partition("/")[0] for each in places]
    if len(ended) > 1:
        return [f"DOUBLED {name}: {places}"]
    if wanted == GONE:
        return [f"{name} is in {places}"] if ended else []
    if not ended:
        return [f"LOST {name}"]
    return [] if ended[0] in wanted.split(" or ") else [f"{name} is in {places}, not in {wanted}"]


def left_running(home):
    """Name the processes that something in this home has left."""
    found = subprocess.run(
        ["pgrep", "-a", "-f", str(home)], capture_output=True, text=True, check=False
    ).stdout.splitlines()
    return [f"still running: {each}" for each in found]
