"""Measure others on the same files: what can be had from a registry or a distribution.

Each keeps what it promises by default or with its safest setting; that differs, and README.md
says how. The Python ones are installed into an environment of their own, below build/. GNU
parallel, and those that need a Redis server, are left out where it is not installed, which is
said.
"""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

from harness import BUILD, HERE, Row, folder, make_files, median, ratios, rounds, spread
from throughput import drain, floor

PACKAGES = ("huey", "persist-queue")
BROKERED = ("rq", "dramatiq")


def _environment() -> Path:
    """Make an environment with the packages in it, and return its interpreter."""
    python = BUILD / "peers" / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", BUILD / "peers"], check=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES, *BROKERED], check=True)
    return python


def _peer(python: Path, where: Path, name: str, items: int) -> dict:
    inbox, state = where / "peer", where / "peer-state"
    inbox.mkdir()
    make_files(inbox, items)
    script = "brokered.py" if name in BROKERED else "peer.py"
    command = [python, HERE / script, name, inbox, state]
    taken = subprocess.run(command, stdout=subprocess.PIPE, check=True, cwd=HERE).stdout
    shutil.rmtree(inbox)
    shutil.rmtree(state)
    return json.loads(taken.splitlines()[-1])


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
        python = _environment()
        names = list(PACKAGES)
        if shutil.which("redis-server"):
            names += BROKERED
        else:
            print("  RQ and dramatiq are left out: apt install redis-server")
        for name in names:
            contestants[name] = lambda name=name: _peer(python, where, name, items)
        if shutil.which("parallel"):
            contestants["GNU parallel"] = lambda: _parallel(where, items)
        else:
            print("  GNU parallel is left out: apt install parallel")
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
