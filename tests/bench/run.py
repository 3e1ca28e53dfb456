"""Measure the speed and print it beside the targets: `make bench`, a few minutes.

    run.py [--full] [--peers] [--only WORD ...] [--items N] [--rounds N]

Each figure is a ratio between contestants that took turns in this very run; see README.md.
Without --full the sizes are smaller than the targets name: what grows with them (the start
with a million files, the burst of a hundred thousand) is then shown, but proves less.
The table is written to build/bench.json as well, with every round.
"""

import argparse
import json
import os
import platform
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime

import arrivals
import parts
import peers
import starts
import throughput
from harness import BUILD, Row

# what it is called: what measures it, with which size and rounds, small and full
FIGURES = {
    "throughput": (throughput.throughput, (2000, 5), (20_000, 5)),
    "commands": (throughput.commands, (500, 5), (2000, 5)),
    "growth": (throughput.growth, ((1000, 8000), 3), ((1000, 20_000, 200_000), 3)),
    "waiting": (starts.waiting, (20_000, 3), (1_000_000, 3)),
    "after": (starts.after, (20_000, 3), (1_000_000, 3)),
    "replay": (starts.replay, (5000, 7), (250_000, 5)),
    "latency": (arrivals.latency, (60, 1), (300, 1)),
    "burst": (arrivals.burst, (5000, 1), (100_000, 1)),
    "idle": (arrivals.idle, (10, 1), (60, 1)),
    "ctl": (arrivals.control, (0, 7), (0, 15)),
    "parts": (parts.parts, (5000, 5), (100_000, 5)),
    "pending": (parts.pending, (100_000, 1), (1_000_000, 1)),
    "completes": (parts.completes, (20_000, 5), (100_000, 5)),
}


def main() -> None:
    """Measure what was asked for, show it as it comes, and keep it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--full", action="store_true", help="the sizes of the targets; an hour")
    parser.add_argument("--peers", action="store_true", help="other programs on the same files")
    parser.add_argument("--only", nargs="+", default=list(FIGURES), choices=FIGURES)
    parser.add_argument("--items", type=int, help="another size for all figures of one size")
    parser.add_argument("--rounds", type=int, help="other than five rounds")
    options = parser.parse_args()
    rows: list[Row] = []
    machine = _machine()
    print(f"{machine['cpu']}, {machine['cores']} cores, Python {machine['python']}, ", end="")
    print(f"Linux {machine['kernel']}, load {machine['load']}, {machine['date']}\n")
    for name in options.only:
        measure, small, full = FIGURES[name]
        size, count = full if options.full else small
        if options.items and isinstance(size, int) and size > 100:
            size = options.items
        _measure(rows, measure, size, options.rounds or count)
        _keep(machine, rows)
    if options.peers:
        _measure(rows, peers.peers, options.items or 2000, options.rounds or 5)
        _keep(machine, rows)
    missed = sum(row.met is False for row in rows)
    print(f"\n{missed} of {sum(row.met is not None for row in rows)} targets missed")


def _measure(rows: list[Row], measure, size: object, count: int) -> None:
    started = time.perf_counter()
    for row in measure(size, count):
        rows.append(row)
        mark = {None: " ", True: "+", False: "-"}[row.met]
        print(f"{mark} {row.figure:<60} {row.value:<44} {row.target}", flush=True)
    seconds = time.perf_counter() - started
    if sys.stdout.isatty():
        print(f"  ({seconds:.0f} s)")


def _keep(machine: dict, rows: list[Row]) -> None:
    """Write what there is so far; a long run may be given up."""
    BUILD.mkdir(exist_ok=True)
    told = {"machine": {**machine, "load_after": os.getloadavg()}, "rows": [*map(asdict, rows)]}
    (BUILD / "bench.json").write_text(json.dumps(told, indent=1))


def _machine() -> dict:
    cpu = platform.processor() or platform.machine()
    with open("/proc/cpuinfo") as lines:
        models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else cpu,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "kernel": platform.release(),
        "load": [round(each, 1) for each in os.getloadavg()],
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


if __name__ == "__main__":
    main()
