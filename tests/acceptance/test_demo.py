"""Run the README's first command, but for its folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

DEMO = Path(__file__).parent.parent / "demo"
pytest.importorskip("PIL", reason="the demo's extra is not installed")


def test_the_demo_tells_its_story_and_ends_well(tmp_path):
    home = tmp_path / "demo"

    told = subprocess.run(
        [sys.executable, DEMO / "run.py", home],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert told.returncode == 0, told.stdout + told.stderr
    photos = {each.name for each in (DEMO / "photos").glob("*.jpg")}
    assert {each.name for each in (home / "done").iterdir()} == photos
    failed = {name for name in os.listdir(home / "failed") if not name.endswith(".failure.txt")}
    assert failed == {"truncated.jpg", "poison.jpg"}
    pictures = {f"{Path(name).stem}.marked.jpg" for name in photos}
    assert {each.name for each in (home / "out").iterdir()} == pictures
    assert "SIGKILL" in told.stdout
