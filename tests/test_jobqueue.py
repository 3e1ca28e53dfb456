import json

import pytest

from resumed.entry import Entry
from resumed.jobqueue import MOST_OPEN, JobQueue
from resumed.jobyard import JobYard
from resumed.model import Identity
from resumed.paths import Paths

ID = "019a3c5d7e2-0123456789"


def now():
    return 1_790_000_000.0


def job(id_=ID):
    return Entry(id_, "a.jsonl", Identity(1, 2, 3), owner=0, claimed_at=0.0)


@pytest.fixture
def paths(tmp_path):
    paths = Paths.below(tmp_path, tmp_path / "state")
    paths.jobs.mkdir(parents=True)
    return paths


@pytest.fixture
def yard(paths):
    return JobYard(paths, None, "0badcafe")  # it is asked to move no file


@pytest.fixture
def queue(yard):
    queue = JobQueue(yard, now)
    yield queue
    queue.close()


def test_of_several_marks_of_a_part_the_latest_attempt_is_recorded(queue, yard, paths):
    yard.book(ID, now).close()

    for attempt in (2, 3, 1):
        queue.trace(ID, "00000000000000aa", attempt)
    queue.record_traces({ID: job()})

    lines = (paths.jobs / f"{ID}.jsonl").read_text().splitlines()
    (traced,) = [each for each in map(json.loads, lines) if each["kind"] == "traced"]
    assert traced["marks"] == {"00000000000000aa": 3}


def test_only_jobs_beyond_the_first_hundred_hold_up_other_files(queue):
    for number in range(MOST_OPEN):
        queue.add(job(f"{number:011x}-0123456789"))
    assert queue.surplus == 0

    queue.add(job())

    assert queue.surplus == 1
