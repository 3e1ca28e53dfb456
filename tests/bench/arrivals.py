"""Measure arrivals: how soon a handler starts, what a burst loses, what idleness costs."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from harness import HERE, Row, folder, home, make_files, median, percentile, run, spread
from starts import running, status_kb, wait_for

from resumed.daemon import PING_SECONDS

RESCAN_SECONDS = 60.0

HANDLER = """
import os, time


def process(item):
    now = time.monotonic_ns()
    log = os.open(os.environ["BENCH_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(log, f"{item.name} {now}\\n".encode())
    os.close(log)
"""


def _drop(where: Path, name: str, *, renamed: bool) -> int:
    """Let a file appear in *where*, and return the time just before it was complete."""
    path = where / (f".{name}.tmp" if renamed else name)
    fd = os.open(path, os.O_CREAT | os.O_WRONLY)
    os.write(fd, b"x" * 1024)
    if not renamed:
        at = time.monotonic_ns()
        os.close(fd)
        return at
    os.close(fd)
    at = time.monotonic_ns()
    path.rename(where / name)
    return at


def _heard(log: Path) -> dict[str, int]:
    if not log.exists():
        return {}
    words = (line.split() for line in log.read_text().splitlines())
    return {name: int(at) for name, at in words}


def _latencies(
    where: Path, drops: int, *, renamed: bool, settle: object, beside: bool = False
) -> dict[str, list[float]]:
    """Drop files by turns where we, a raw reader and watchdog listen; microseconds.

    With *beside*, other files are done and put away all the time.
    """
    made = home(where / "home", HANDLER, workers=2, settle=settle)
    logs = {name: where / f"{name}.log" for name in ("ours", "raw", "watchdog")}
    inboxes = {"ours": made / "inbox", "raw": where / "raw", "watchdog": where / "watchdog"}
    os.environ["BENCH_LOG"] = str(logs["ours"])
    listeners = []
    for name in ("raw", "watchdog"):
        inboxes[name].mkdir()
        command = [sys.executable, HERE / "listener.py", name, inboxes[name], logs[name]]
        listener = subprocess.Popen(command, stdout=subprocess.PIPE)
        listener.stdout.readline()
        listeners.append(listener)
    dropped: dict[str, dict[str, int]] = {name: {} for name in inboxes}
    try:
        with running(made), _others(made / "inbox") if beside else nullcontext():
            time.sleep(1.0)
            for number in range(drops):
                for name, inbox in inboxes.items():
                    file = f"file-{number:05d}"
                    dropped[name][file] = _drop(inbox, file, renamed=renamed)
                    time.sleep(0.1 / len(inboxes))
            for name, log in logs.items():
                wait_for(lambda log=log, name=name: dropped[name].keys() <= _heard(log).keys(), 60)
    finally:
        for listener in listeners:
            listener.kill()
            listener.wait()
    return {
        name: [(heard[file] - at) / 1000 for file, at in dropped[name].items()]
        for name, heard in ((name, _heard(log)) for name, log in logs.items())
    }


@contextmanager
def _others(inbox: Path) -> Iterator[None]:
    """Drop a file each 5 ms, so that others are being put away at any time."""
    over = threading.Event()

    def drop() -> None:
        number = 0
        while not over.wait(0.005):
            _drop(inbox, f"other-{number:05d}", renamed=True)
            number += 1

    dropping = threading.Thread(target=drop)
    dropping.start()
    try:
        yield
    finally:
        over.set()
        dropping.join()


def latency(drops: int, _count: int) -> list[Row]:
    """Compare the first line of a handler with a raw read of the same kind of event."""
    rows, alone = [], {}
    for figure, renamed, settle in (
        ("renamed in", True, "1s"),
        ("written in place, settle = 0", False, 0),
    ):
        with folder() as where:
            taken = _latencies(where, drops, renamed=renamed, settle=settle)
        alone[figure] = median(taken["ours"])
        ours, raw, dog = (median(taken[name]) for name in ("ours", "raw", "watchdog"))
        late, dog_late = (percentile(taken[name], 0.99) for name in ("ours", "watchdog"))
        details = {name: sorted(values) for name, values in taken.items()}
        value = f"{ours / raw:.2g} x raw ({ours:,.0f} us; watchdog {dog / raw:.2g} x)"
        rows += [
            Row(
                f"drop to handler, {figure}: median", value, "<= 8 x raw", ours <= 8 * raw, details
            ),
            Row(
                f"drop to handler, {figure}: p99",
                f"{late / dog_late:.2g} x watchdog ({late:,.0f} us)",
                "<= 3 x watchdog",
                late <= 3 * dog_late,
            ),
        ]
    with folder() as where:
        beside = _latencies(where, drops, renamed=True, settle="1s", beside=True)["ours"]
    share = median(beside) / alone["renamed in"]
    figure = "drop to handler, renamed in, while others are put away: median"
    value = f"{share:.2g} x alone ({median(beside):,.0f} us)"
    return [*rows, Row(figure, value, "<= 1.2 x alone", share <= 1.2, {"us": sorted(beside)})]


def burst(files: int, _count: int) -> list[Row]:
    """Drop many files at once: while it works, and while it is stopped."""
    with folder() as where:
        os.environ["BENCH_LOG"] = str(where / "cold.log")
        os.sync()
        cold = home(where / "cold", HANDLER, workers=2)
        make_files(cold / "inbox", files)
        drained = run("drained.py", cold)
        base, base_cpu = drained["seconds"], drained["cpu"]
        rows = []
        for figure, stopped in (("while it works", False), ("while it is stopped", True)):
            log = where / f"burst-{stopped}.log"
            os.environ["BENCH_LOG"] = str(log)
            os.sync()  # or its syncs would wait for what the one before has left
            made = home(where / f"burst-{stopped}", HANDLER, workers=2)
            with running(made) as daemon:
                if stopped:
                    os.kill(daemon.pid, signal.SIGSTOP)
                make_files(made / "inbox", files)
                before = _ticks(daemon.pid)
                os.kill(daemon.pid, signal.SIGCONT)
                done = made / "done"
                seconds = wait_for(lambda done=done: _kept(done) >= files, 3600)
                spent = (_ticks(daemon.pid) - before) / os.sysconf("SC_CLK_TCK")
                time.sleep(0.2)
            runs = Counter(line.split()[0] for line in log.read_text().splitlines())
            lost = files - min(_kept(done), len(runs))
            doubled = sum(many - 1 for many in runs.values())
            value = f"{lost} lost, {doubled} doubled, {seconds / base:.2g} x a cold drain"
            if stopped:  # else it worked before the clock ran
                value += f", {spent / base_cpu:.2g} x its CPU time"
            good = not lost and not doubled and seconds <= 1.2 * base
            aim = "0 lost, 0 doubled, <= 1.2 x a cold drain"
            rows.append(Row(f"burst of {files:,} {figure}", value, aim, good))
    return rows


def _kept(folder: Path) -> int:
    return len(os.listdir(folder))


def idle(seconds: int, _count: int) -> list[Row]:
    """Watch a daemon that has nothing to do."""
    with folder() as where:
        made = home(where / "home", workers=1)
        with running(made) as daemon:
            make_files(made / "inbox", 3)
            wait_for(lambda: len(os.listdir(made / "done")) == 3)
            time.sleep(3)
            before, wakes = _ticks(daemon.pid), _wakes(daemon.pid)
            time.sleep(seconds)
            spent, woken = _ticks(daemon.pid) - before, _wakes(daemon.pid) - wakes
            children = Path(f"/proc/{daemon.pid}/task/{daemon.pid}/children").read_text().split()
            own = status_kb(daemon.pid, "VmRSS") / 1024
            workers = max(status_kb(int(pid), "VmRSS") for pid in children) / 1024
    share = 100 * spent / os.sysconf("SC_CLK_TCK") / seconds
    most = 2 + int(seconds // PING_SECONDS) + int(seconds // RESCAN_SECONDS)
    aim = f"<= {most}, pings and rescans"
    return [
        Row(f"idle for {seconds} s: wake-ups", str(woken), aim, woken <= most),
        Row("idle: of a core", f"{share:.2g} %", "<= 0.1 %", share <= 0.1),
        Row("idle: daemon resident", f"{own:.0f} MB", "<= 40 MB", own <= 40),
        Row("idle: worker resident", f"{workers:.0f} MB", "<= 25 MB", workers <= 25),
    ]


def _ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _wakes(pid: int) -> int:
    """Count how often any thread of a process gave up the processor to wait."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        for line in (task / "status").read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches"):
                total += int(line.split()[1])
    return total


def control(_items: int, count: int) -> list[Row]:
    """Start `resumed-ctl failures`, beside an interpreter that does nothing."""
    with folder() as where:
        made = home(where / "home")
        run("drained.py", made)
        ctl = [sys.executable, "-m", "resumed.ctl", "--home", made, "failures"]
        shares = []
        for _ in range(count + 1):
            ours = _timed(ctl)
            shares.append(ours / _timed([sys.executable, "-c", "pass"]))
    del shares[0]
    figure = "resumed-ctl failures, warm"
    return [Row(figure, spread(shares, " x python"), "<= 4 x python", median(shares) <= 4)]


def _timed(command: list) -> float:
    started = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
    return time.perf_counter() - started
