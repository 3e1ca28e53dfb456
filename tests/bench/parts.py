"""Measure the parts of a job, beside a loop that appends and syncs as often."""

import json
import os
import shutil
import time
from pathlib import Path

from harness import Row, folder, home, median, rounds, run, spread

from resumed.progress.embedded import EmbeddedProgress
from resumed.progress.parts import Parts

GROUP = 256
FEW = 5000


def _append(where: Path, parts: int, group: int = 64) -> dict:
    """Append a line for each part, synced each *group*."""
    from floor import line

    fd = os.open(where / "bare.jsonl", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    started = time.perf_counter()
    for number in range(parts):
        os.write(fd, line(f"part-{number:07d}", 1))
        if number % group == group - 1:
            os.fdatasync(fd)
    os.fdatasync(fd)
    seconds = time.perf_counter() - started
    os.close(fd)
    return {"rate": parts / seconds}


def _job(where: Path, parts: int) -> dict:
    made = home(where / "home", workers=2)
    config = made / "resumed.toml"
    config.write_text(config.read_text() + '\n[job]\nmatch = ["*.jsonl"]\nid = "id"\n')
    with (made / "inbox" / "parts.jsonl").open("w") as file:
        for number in range(parts):
            file.write(json.dumps({"id": f"p{number:07d}", "value": number}) + "\n")
    taken = run("drained.py", made)
    shutil.rmtree(made)
    return taken | {"rate": parts / taken["seconds"]}


def parts(count: int, times: int) -> list[Row]:
    """Run a job of *count* parts whose handler does nothing."""
    with folder() as where:
        results = rounds(
            {"bare": lambda: _append(where, count), "ours": lambda: _job(where, count)}, times
        )
    shares = [each["ours"]["rate"] / each["bare"]["rate"] for each in results]
    rate = median([each["ours"]["rate"] for each in results])
    return [
        Row(
            f"a job of {count:,} parts, 2 workers",
            f"{rate:,.0f}/s, {spread(shares, ' x bare')}",
            ">= 10,000/s and >= 0.4 x bare",
            rate >= 10_000 and median(shares) >= 0.4,
            {"rounds": results},
        )
    ]


# Where the first part began to run is told by the first attempt in each worker.
TELLING = """
import os, time
told = False


def process(item):
    global told
    if not told:
        told = True
        with open("first", "a") as file:
            file.write(f"{time.monotonic()}\\n")


def total(job):
    return sum(1 for _ in job.results())
"""


def _pending(where: Path, parts: int) -> dict:
    """Run a job with a reduce; tell its memory, and when the first part began."""
    made = home(where / "home", TELLING, workers=2)
    config = made / "resumed.toml"
    job = '\n[job]\nmatch = ["*.jsonl"]\nid = "id"\nreduce = "handler:total"\n'
    config.write_text(config.read_text() + job)
    with (made / "inbox" / "parts.jsonl").open("w") as file:
        for number in range(parts):
            file.write(json.dumps({"id": f"p{number:07d}", "value": number}) + "\n")
    taken = run("drained.py", made)
    taken["first"] = min(map(float, (made / "first").read_text().split())) - taken["began_at"]
    shutil.rmtree(made)
    return taken


def pending(count: int, times: int) -> list[Row]:
    """Run a job of *count* parts, and see what its parts that wait take."""
    with folder() as where:
        contestants = {
            "few": lambda: _pending(where, FEW),
            "many": lambda: _pending(where, count),
        }
        results = rounds(contestants, times)
    peak = median([each["many"]["peak_kb"] for each in results]) / 1024
    worker = median([each["many"]["worker_peak_kb"] for each in results]) / 1024
    first = median([each["many"]["first"] for each in results])
    kb = [each["many"]["peak_kb"] - each["few"]["peak_kb"] for each in results]
    more = [1024 * each / (count - FEW) for each in kb]
    name = f"a job of {count:,} parts and a reduce"
    details = {"rounds": results}
    return [
        Row(f"{name}: peak", f"{peak:.0f} MB, worker {worker:.0f}", "<= 150 MB", peak <= 150),
        Row(
            f"  more than with {FEW:,} parts",
            spread(more, " B a part"),
            "<= 60 B",
            median(more) <= 60,
        ),
        Row("  first part begins", f"{first:.2f} s", "<= 2 s", first <= 2, details),
    ]


def _complete(where: Path, parts: int) -> dict:
    """Complete the parts of a job that the library keeps in files, a sync for each group."""
    progress = EmbeddedProgress(folder=where / "jobs")
    with Parts({"value": number} for number in range(parts)) as encoded:
        progress.create("job", encoded)
    started = time.perf_counter()
    for first in range(0, parts, GROUP):
        with progress.group():
            for number in range(first, min(first + GROUP, parts)):
                progress.complete("job", str(number))
    seconds = time.perf_counter() - started
    progress.close()
    shutil.rmtree(where / "jobs")
    return {"rate": parts / seconds}


def completes(count: int, times: int) -> list[Row]:
    """Complete parts by the library's embedded backend."""
    with folder() as where:
        contestants = {
            "bare": lambda: _append(where, count, GROUP),
            "ours": lambda: _complete(where, count),
        }
        results = rounds(contestants, times)
    shares = [each["ours"]["rate"] / each["bare"]["rate"] for each in results]
    rate = median([each["ours"]["rate"] for each in results])
    return [
        Row(
            f"library: {count:,} parts completed, {GROUP} a group",
            f"{rate:,.0f}/s, {spread(shares, ' x bare')}",
            ">= 20,000/s",
            rate >= 20_000,
            {"rounds": results},
        )
    ]
