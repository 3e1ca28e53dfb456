"""Make homes full of files, run programs in them, and compare what they take.

The machine is shared and noisy, so a figure is never one number: the contestants take turns
within each round, in a random order, and what is told is the median of the ratios of each
round, with the least and the greatest of them.
"""

import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
BUILD = ROOT / "build"
FOLDERS = ("inbox", "active", "hold", "done", "failed", "out", "state")
CONTENT = b"x" * 1023 + b"\n"

NOTHING = "def process(item):\n    return None\n"


@dataclass
class Row:
    """One line of the table: a figure, what was measured, and what was aimed at."""

    figure: str
    value: str
    target: str
    met: bool | None = None
    details: dict = field(default_factory=dict)


@contextmanager
def folder() -> Iterator[Path]:
    """Lend a folder on the disk that the working copy is on, not on one in memory."""
    BUILD.mkdir(exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix="bench-", dir=BUILD))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def make_files(where: Path, count: int, content: bytes = CONTENT, prefix: str = "item") -> None:
    """Write *count* small files, as a producer does that then has nothing to do with them."""
    for number in range(count):
        fd = os.open(where / f"{prefix}-{number:07d}.json", os.O_CREAT | os.O_WRONLY, 0o644)
        os.write(fd, content)
        os.close(fd)


def home(where: Path, handler: str = NOTHING, **settings: object) -> Path:
    """Make a home at *where*: its folders, its configuration, its handler."""
    for name in FOLDERS:
        (where / name).mkdir(parents=True)
    settings = {"handler": "handler:process", "settle": 0, **settings}
    steps = settings.pop("steps", "")
    lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
    if steps:
        del lines[0]
    (where / "resumed.toml").write_text("\n".join(lines) + f'\n{steps}\n[log]\nlevel = "warning"\n')
    (where / "handler.py").write_text(handler)
    return where


def run(*arguments: object, environ: dict[str, str] | None = None) -> dict:
    """Run a script that lies here, and return the JSON that it prints."""
    ended = subprocess.run(
        [sys.executable, *map(str, arguments)],
        stdout=subprocess.PIPE,
        check=False,
        cwd=HERE,
        env=os.environ | (environ or {}),
    )
    if ended.returncode:
        raise SystemExit(f"{arguments} ended with {ended.returncode}")
    return json.loads(ended.stdout.splitlines()[-1])


def rounds(contestants: dict[str, Callable[[], dict]], count: int) -> list[dict[str, dict]]:
    """Let all take turns, *count* times, in another order each time."""
    results = []
    for _ in range(count):
        os.sync()
        names = list(contestants)
        random.shuffle(names)
        taken = {name: contestants[name]() for name in names}
        results.append(taken)
    return results


def ratios(results: list[dict[str, dict]], one: str, key: str, other: str, per: str) -> list[float]:
    """Divide, round by round, *key* of *one* by *per* of *other*."""
    return [each[one][key] / each[other][per] for each in results]


def spread(values: list[float], unit: str = "") -> str:
    """Show a median and between what it lies."""
    return (
        f"{brief(statistics.median(values))}{unit} ({brief(min(values))} to {brief(max(values))})"
    )


def brief(value: float) -> str:
    """Show three digits of a number."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def median(values: list[float]) -> float:
    """Return the median."""
    return statistics.median(values)


def percentile(values: list[float], share: float) -> float:
    """Return the value that *share* of all are at most as large as."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
