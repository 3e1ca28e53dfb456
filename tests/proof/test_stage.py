"""Hold the played producers to what real ones do, who are other processes."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("untraced")

# A gate asks twice whether somebody writes; a producer acts during the first lease.
PLAY = """
import os
import sys
import stage
from resumed import stranger

folder, how = sys.argv[1:]
home, effects = stage.make(f"{folder}/home"), f"{folder}/effects"
stage.drop(home, "new1")


def asks(home):
    stranger.ignore_lease_breaks()
    fd = os.open(home / "inbox" / "new1", os.O_RDONLY)
    stage.note("writer", *(str(stranger.has_writer(fd)) for _ in range(2)))
    return 0


def play(*plan, report):
    faults = stage.Faults(home, *plan)
    return stage.drain(home, effects, faults, report=report, deed=asks, timeout=5)


_, calls = play(0, "listen", report=lambda faults: faults.calls)
during = [at for at, (call, _, _) in enumerate(calls, 1) if call == "fcntl"][1]
os.unlink(effects)
status, answer = play(during, how, report=stage.Faults.report)
print(status, answer and answer[3], *open(effects).read().splitlines(), sep=", ")
"""


def played(folder, how):
    ended = subprocess.run(
        [sys.executable, "-c", PLAY, folder, how],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


@pytest.mark.parametrize(
    ("how", "there_now"), [("opened", True), ("written to", False), ("deleted", False)]
)
def test_a_producer_that_meets_our_lease_goes_on_when_it_is_dropped(tmp_path, how, there_now):
    assert played(tmp_path, how) == f"0, True, meddled {how}, writer False {there_now}"
