"""Tell the story of a job: one file of many records, some of them spoilt.

Dropped, killed midway, resumed, its failures shown, mended, retried, and reduced once.
"""

import json
import os
import signal
from collections import Counter
from pathlib import Path

from play import daemon, prepare, say, show

RECORDS = Path(__file__).parent / "records"
NAME = "clock-changes.csv"
PARTS_BEFORE_THE_KILL = 1000
UNFINISHED, UNREADABLE, WITHOUT_OFFSET = 500, 1000, 1500


def main(home: Path) -> None:
    """Run the story in *home*, which is emptied first."""
    prepare(home, RECORDS)
    whole = (RECORDS / NAME).read_bytes()
    count = len(whole.splitlines()) - 1
    with daemon(home, dict(os.environ)) as running:
        say(f"{NAME} is dropped: {count} records, three of them spoilt; each is a part of a job.")
        (home / ".whole").write_bytes(spoilt(whole))
        (home / ".whole").rename(home / "inbox" / NAME)
        running.wait_until(lambda: len(ran(home)) >= PARTS_BEFORE_THE_KILL)
        running.end(signal.SIGKILL)
    say("SIGKILL: the daemon is dead in the middle of the job.")
    show(home, "jobs", "ls")

    say("The daemon starts again and goes on where it stopped.")
    with daemon(home, dict(os.environ)) as running:
        running.wait_until((home / "failed" / f"{NAME}.failure.txt").exists)
        show(home, "jobs", "failures", NAME)

        say("Somebody mends the three records, and gives the job the new file.")
        (home / "mended.csv").write_bytes(whole)
        show(home, "retry", NAME, "--with", str(home / "mended.csv"))
        running.wait_until((home / "done" / f"{NAME}.results.jsonl").exists)
        show(home, "jobs", "wait", NAME)
        show(home, "jobs", "info", NAME)
        running.end(signal.SIGTERM)
    tell_runs(home, count)


def spoilt(whole: bytes) -> bytes:
    """Spoil three records."""
    lines = whole.splitlines()
    lines[UNFINISHED] = lines[UNFINISHED].partition(b",")[0]
    lines[UNREADABLE] += b" \xfc"
    lines[WITHOUT_OFFSET] = lines[WITHOUT_OFFSET].replace(b",+", b",?", 1)
    return b"\n".join(lines) + b"\n"


def ran(home: Path) -> list[str]:
    """List what the handler noted of its calls."""
    log = home / "ran.log"
    return log.read_text().splitlines() if log.exists() else []


def tell_runs(home: Path, count: int) -> None:
    """Compare what was run with what was needed."""
    calls = Counter(line.rpartition(" ")[0] for line in ran(home))
    reduces = calls.pop("reduce")
    again = sum(1 for times in calls.values() if times > 1)
    results = (home / "done" / f"{NAME}.results.jsonl").read_text().splitlines()
    first = json.loads(results[0])
    say(
        f"{len(results)} of {count} records have a result, the first {first['result']}; the reduce "
        f"ran {'once' if reduces == 1 else f'{reduces} times'}; {again} records ran again: those "
        "that the kill interrupted, and the one that failed."
    )
