"""Run the quick tier of the proof, each sweep as a test; `run.py` is the whole of it."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("untraced")

RUN = Path(__file__).parent / "run.py"
GROUPS = (
    ("kills", "asked", "twice", "torn"),
    ("short", "errors", "deeds"),
    ("strict", "ordered", "outputs"),
    ("damage", "repairs"),
    ("reals", "wishes"),
)


def run(*arguments):
    ended = subprocess.run(
        [sys.executable, RUN, "--quick", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr[-3000:]
    return ended.stdout


@pytest.mark.parametrize("sweeps", GROUPS, ids="-".join)
def test_nothing_is_lost_doubled_refused_or_silently_wrong(sweeps):
    assert "lost" in run(*sweeps)


# One of each kind; `make proof` plants all of them, and prints which sweep found which.
@pytest.mark.parametrize("bug", ["rewrite_in_place", "retry_sync", "no_sync", "damage_called_torn"])
def test_the_harness_finds_a_planted_bug(bug):
    assert "NOTHING" not in run("--planted", bug)
