"""Measure starts: with much waiting, after much was done; and the replay by itself."""

import json
import os
import random
import shutil
import socket
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness import NOTHING, Row, folder, home, make_files, median, rounds, spread

from resumed.compaction import WORTH_BYTES
from resumed.intake import CAPACITY
from resumed.ledger import Ledger
from resumed.recorder import Recorder
from resumed.settings import Paths

ITEM_BYTES = 700  # what the four records of an item take


class Running:
    """A daemon, and what it has told systemd."""

    def __init__(self, where: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        address = f"\0resumed-bench-{os.getpid()}-{time.monotonic_ns()}"
        self._socket.bind(address)
        self.started = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "resumed.cli", "run", "--home", where],
            env=os.environ | {"NOTIFY_SOCKET": "@" + address[1:]},
        )
        self._socket.settimeout(600)
        while "READY=1" not in self._socket.recv(65536).decode().split("\n"):
            pass
        self.ready_seconds = time.perf_counter() - self.started
        self._socket.setblocking(False)

    @property
    def pid(self) -> int:
        return self.process.pid

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._socket.close()


@contextmanager
def running(where: Path) -> Iterator[Running]:
    """Lend a daemon that is ready."""
    daemon = Running(where)
    try:
        yield daemon
    finally:
        daemon.stop()


def wait_for(condition, seconds: float = 600) -> float:
    """Return when *condition* holds, and how long that took.

    To look takes at most a tenth of the time, or what is measured would be slower for it.
    """
    started = time.perf_counter()
    while True:
        looked_at = time.perf_counter()
        if condition():
            return time.perf_counter() - started
        now = time.perf_counter()
        if now - started > seconds:
            raise SystemExit("waited in vain")
        time.sleep(max(0.001, 9 * (now - looked_at)))


def status_kb(pid: int, key: str) -> int:
    """Read one of the sizes in /proc/PID/status."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1])
    return 0


def _wait_with_files(where: Path, files: int) -> dict:
    made = home(where / "home", NOTHING, workers=2)
    make_files(made / "inbox", files)
    with running(made) as daemon:
        journal = made / "state" / "journal.jsonl"
        wait_for(lambda: b'"kind":"started"' in journal.read_bytes()[:65536])
        first = time.perf_counter() - daemon.started
        # No more than these were read from the folder so far; others are still to be found.
        seen = CAPACITY + journal.read_bytes().count(b'"kind":"claimed"')
        peak = status_kb(daemon.pid, "VmHWM") / 1024
    shutil.rmtree(made)
    return {"ready": daemon.ready_seconds, "first": first, "seen": seen, "peak_mb": peak}


def waiting(files: int, count: int) -> list[Row]:
    """Start in front of an inbox that is full."""
    with folder() as where:
        results = rounds({"full": lambda: _wait_with_files(where, files)}, count)
    ready = [each["full"]["ready"] for each in results]
    first = [each["full"]["first"] for each in results]
    seen = max(each["full"]["seen"] for each in results)
    peak = max(each["full"]["peak_mb"] for each in results)
    figure = f"start with {files:,} files waiting"
    details = {"rounds": results}
    return [
        Row(f"{figure}: READY", spread(ready, " s"), "<= 3 s", median(ready) <= 3, details),
        Row(
            f"{figure}: first item runs", spread(first, " s"), "before the scan ended", seen < files
        ),
        Row(f"{figure}: peak of the daemon", f"{peak:.0f} MB", "<= 250 MB", peak <= 250),
    ]


def _journal(made: Path, items: int) -> None:
    """Write the journal that *items* done items leave."""
    paths = Paths.below(made, made / "state")
    paths.history.mkdir(exist_ok=True)
    recorder = Recorder(paths, time.time, random.getrandbits)
    for number in range(items):
        item, name = f"{number:011x}-{number:010x}", f"item-{number:07d}.json"
        recorder.record_lazily(
            "claimed", id=item, name=name, inode=number, size=1024, mtime_ns=10**18, owner=0
        )
        recorder.record_lazily("started", id=item, attempt=1)
        recorder.record("done", id=item, attempt=1, result=None, seconds=0.001)
        recorder.record_lazily("put_away", id=item, **{"as": name})
        if number % 64 == 0:
            recorder.commit()
    recorder.close()


def _as_killed(made: Path, items: int) -> None:
    """Leave what a daemon leaves at most that is killed at work: it rewrites what is longer."""
    _journal(made, min(items, WORTH_BYTES // ITEM_BYTES))


def _as_stopped(made: Path, items: int) -> None:
    """Leave what a daemon leaves that had as much to read, and was stopped."""
    _as_killed(made, items)
    with running(made):
        pass


def after(items: int, count: int) -> list[Row]:
    """Start after much was done, beside an empty start."""
    with folder() as where:

        def start(leave, done: int) -> dict:
            made = home(where / "home", NOTHING, workers=2)
            leave(made, done)
            with running(made) as daemon:
                pass
            shutil.rmtree(made)
            return {"ready": daemon.ready_seconds}

        results = rounds(
            {
                "empty": lambda: start(_journal, 0),
                "stopped": lambda: start(_as_stopped, items),
                "killed": lambda: start(_as_killed, items),
                "never": lambda: start(_journal, items),
            },
            count,
        )
    rows = []
    for key, how in (
        ("stopped", "stopped"),
        ("killed", "killed at its longest journal"),
        ("never", "journal never rewritten"),
    ):
        more = [each[key]["ready"] - each["empty"]["ready"] for each in results]
        figure = f"start after {items:,} items, {how}: READY"
        aim, met = ("reported", None) if key == "never" else ("<= 1 s more", median(more) <= 1)
        rows.append(Row(figure, spread(more, " s more"), aim, met, {"rounds": results}))
    return rows


def replay(items: int, count: int) -> list[Row]:
    """Replay a journal into a ledger, beside a loop that only parses and checks."""
    from resumed import journal

    with folder() as where:
        made = home(where / "home")
        _journal(made, items)
        path = made / "state" / "journal.jsonl"
        lines = path.read_bytes().count(b"\n")

        def bare() -> dict:
            started = time.perf_counter()
            with path.open("rb") as file:
                for line in file:
                    json.loads(line)
                    zlib.crc32(line[:-19])
            return {"rate": lines / (time.perf_counter() - started)}

        def ours() -> dict:
            started = time.perf_counter()
            journal.read(path, Ledger().apply)
            return {"rate": lines / (time.perf_counter() - started)}

        results = rounds({"bare": bare, "ours": ours}, count)
    shares = [each["ours"]["rate"] / each["bare"]["rate"] for each in results]
    figure = f"replay of {lines:,} lines"
    details = {"rounds": results}
    return [Row(figure, spread(shares, " x bare"), ">= 0.5 x bare", median(shares) >= 0.5, details)]
