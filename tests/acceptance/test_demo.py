"""Run the README's first command, but for its folder."""

import json
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
    assert told.stdout.count("SIGKILL") == 2

    # and of the job, which is the second half
    records = home / "records"
    mended = (DEMO / "records" / "clock-changes.csv").read_bytes()
    assert (records / "done" / "clock-changes.csv").read_bytes() == mended
    assert len(list((records / "done").glob("clock-changes~*.csv"))) == 1
    assert (records / "done" / "clock-changes.csv.results.jsonl").exists()
    assert os.listdir(records / "failed") == []
    assert "3 of 3283 parts failed" in told.stdout
    assert "2 new, 1 changed, 3280 unchanged, 2 gone; 3 to run" in told.stdout
    assert "3283 of 3283 records have a result" in told.stdout
    assert "the reduce ran once" in told.stdout
    (journal,) = (records / "state" / "jobs" / "archive").glob("*.jsonl")
    kinds = [json.loads(line)["kind"] for line in journal.read_text().splitlines()]
    assert kinds.count("reduced") == 1
