"""Measure how many items a second go through, beside loops that do less."""

import shutil
import subprocess
import time
from pathlib import Path

from harness import NOTHING, Row, folder, home, make_files, median, ratios, rounds, run, spread

STEPS = "def process(item):\n    item.step('one', int)\n    item.step('two', int)\n"


def floor(where: Path, items: int, group: int = 1, lines: int = 1) -> dict:
    """Run the bare loop over fresh files."""
    inbox, journal = where / "floor", where / "floor.jsonl"
    inbox.mkdir()
    make_files(inbox, items)
    taken = run("floor.py", inbox, journal, group, lines)
    shutil.rmtree(inbox)
    journal.unlink()
    return taken


def drain(where: Path, items: int, handler: str = "", **settings: object) -> dict:
    """Drain a fresh home, and expect that every item was done."""
    made = home(where / "home", handler or NOTHING, **settings)
    make_files(made / "inbox", items)
    taken = run("drained.py", made)
    if taken["items"] != items:
        raise SystemExit(f"only {taken['items']} of {items} items were done")
    shutil.rmtree(made)
    return taken


def _xargs(where: Path, items: int) -> dict:
    inbox = where / "xargs"
    inbox.mkdir()
    make_files(inbox, items)
    started = time.perf_counter()
    listing = subprocess.Popen(["find", inbox, "-type", "f", "-print0"], stdout=subprocess.PIPE)
    subprocess.run(["xargs", "-0", "-P2", "-n1", "/bin/true"], stdin=listing.stdout, check=True)
    listing.wait()
    seconds = time.perf_counter() - started
    shutil.rmtree(inbox)
    return {"items": items, "seconds": seconds, "rate": items / seconds}


def throughput(items: int, count: int) -> list[Row]:
    """Python handlers that do nothing, against the bare loop."""
    with folder() as where:
        results = rounds(
            {
                "floor": lambda: floor(where, items),
                "floor of 2 lines": lambda: floor(where, items, lines=2),
                "one": lambda: drain(where, items, workers=1, ahead=0),
                "two": lambda: drain(where, items, workers=2),
                "two, sync_input off": lambda: drain(where, items, workers=2, sync_input=False),
                "two steps": lambda: drain(where, items, STEPS, workers=2),
            },
            count,
        )

    def row(figure: str, one: str, floor: str, target: float) -> Row:
        shares = ratios(results, one, "rate", floor, "rate")
        spent = [
            {key: round(each[one][key] / items * 1e6, 1) for key in ("cpu", "workers_cpu")}
            for each in results
        ]
        details = {
            "ratios": shares,
            "items_per_second": [each[one]["rate"] for each in results],
            "floor_items_per_second": [each[floor]["rate"] for each in results],
            "us_per_item": spent,
            "floor_cpu_us": [each[floor]["cpu"] / items * 1e6 for each in results],
        }
        aim = f">= {target:g} x floor" if target else "reported"
        met = median(shares) >= target if target else None
        return Row(figure, spread(shares, " x floor"), aim, met, details)

    n = f"{items:,} files of 1 KB"
    return [
        row(f"{n}, 1 worker, each durable before the next", "one", "floor", 0.8),
        row(f"{n}, 2 workers, group commit", "two", "floor", 2),
        row(f"{n}, 2 workers, sync_input off", "two, sync_input off", "floor", 0),
        row(f"{n}, two steps each, 2 workers", "two steps", "floor of 2 lines", 1),
    ]


def commands(items: int, count: int) -> list[Row]:
    """Run a program for each file, against xargs."""
    with folder() as where:
        contestants = {
            "xargs": lambda: _xargs(where, items),
            "ours": lambda: _drain_commands(where, items),
        }
        results = rounds(contestants, count)
    shares = ratios(results, "ours", "rate", "xargs", "rate")
    figure = f"{items:,} commands (/bin/true), 2 workers"
    details = {"ratios": shares, "rounds": results}
    return [
        Row(figure, spread(shares, " x xargs"), ">= 0.8 x xargs", median(shares) >= 0.8, details)
    ]


def _drain_commands(where: Path, items: int) -> dict:
    made = home(where / "home", workers=2)
    config = made / "resumed.toml"
    command = 'command = ["/bin/true", "{path}"]'
    config.write_text(config.read_text().replace('handler = "handler:process"', command))
    make_files(made / "inbox", items)
    taken = run("drained.py", made)
    shutil.rmtree(made)
    return taken


def growth(sizes: tuple[int, ...], count: int) -> list[Row]:
    """Find the exponent with which the time grows, and the memory a pending item takes."""
    from math import log

    with folder() as where:
        results = rounds(
            {str(n): lambda n=n: drain(where, n, workers=2) for n in sizes},
            count,
        )
    least, most = str(sizes[0]), str(sizes[-1])
    factor = log(sizes[-1] / sizes[0])
    exponents = [log(each[most]["seconds"] / each[least]["seconds"]) / factor for each in results]
    by_cpu = [log(each[most]["cpu"] / each[least]["cpu"]) / factor for each in results]
    peak = max(each[most]["peak_kb"] for each in results) / 1024
    span = f"{sizes[0]:,} to {sizes[-1]:,} items"
    details = {"exponents": exponents, "exponents_cpu": by_cpu, "rounds": results}
    return [
        Row(
            f"{span}: time ~ n^e",
            f"e = {spread(exponents)}, of CPU time {spread(by_cpu)}",
            "e <= 1.05",
            median(exponents) <= 1.05,
            details,
        ),
        Row(
            f"{span}: peak of the daemon", f"{peak:.0f} MB", "<= 60 MB + 300 B an item", peak <= 60
        ),
    ]
