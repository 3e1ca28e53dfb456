"""Measure others on the same files: what can be had from a registry or a distribution.

Each keeps what it promises by default or with its safest setting; that differs, and the table
of README.md says how. One that is not installed is left out, and said so.
"""

import shutil
import subprocess
import sys
import time
from pathlib import Path

from harness import HERE, Row, folder, make_files, median, ratios, rounds, run, spread
from throughput import drain, floor

PACKAGES = {"huey": "huey", "persist-queue": "persistqueue"}


def _peer(where: Path, name: str, items: int) -> dict:
    inbox = where / "peer"
    inbox.mkdir()
    make_files(inbox, items)
    try:
        return run(HERE / "peer.py", name, inbox, where / "peer-state")
    finally:
        shutil.rmtree(inbox)
        shutil.rmtree(where / "peer-state", ignore_errors=True)


def _parallel(where: Path, items: int) -> dict:
    inbox, log = where / "parallel", where / "joblog"
    inbox.mkdir()
    make_files(inbox, items)
    started = time.perf_counter()
    listing = subprocess.Popen(["find", inbox, "-type", "f"], stdout=subprocess.PIPE)
    command = ["parallel", "-j2", "--joblog", log, "true"]
    subprocess.run(command, stdin=listing.stdout, check=True)
    listing.wait()
    seconds = time.perf_counter() - started
    shutil.rmtree(inbox)
    log.unlink()
    return {"items": items, "seconds": seconds, "rate": items / seconds}


def peers(items: int, count: int) -> list[Row]:
    """Let all that are there take turns with us."""
    with folder() as where:
        contestants = {
            "floor": lambda: floor(where, items),
            "ours": lambda: drain(where, items, workers=2),
        }
        missing = []
        for name, module in PACKAGES.items():
            if _installed(module):
                contestants[name] = lambda name=name: _peer(where, name, items)
            else:
                missing.append(f"{name} (pip install {name})")
        if shutil.which("parallel"):
            contestants["GNU parallel"] = lambda: _parallel(where, items)
        else:
            missing.append("GNU parallel (apt install parallel)")
        if missing:
            print(f"  left out, because not installed: {', '.join(missing)}")
        results = rounds(contestants, count)
    rows = []
    for name in list(contestants)[2:]:
        shares = ratios(results, "ours", "rate", name, "rate")
        beaten = median(shares) >= 5
        figure = f"{items:,} files, 2 workers, beside {name}"
        rows.append(
            Row(figure, spread(shares, f" x {name}"), ">= 5 x", beaten, {"rounds": results})
        )
    return rows


def _installed(module: str) -> bool:
    looked = subprocess.run(
        [sys.executable, "-c", f"import {module}"], capture_output=True, check=False
    )
    return looked.returncode == 0
