import fcntl
import json
import os

import pytest

from resumed.entry import Entry
from resumed.jobqueue import BUSY_SECONDS, MOST_OPEN, JobQueue
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


def test_so_many_marks_that_no_record_could_hold_them_are_all_recorded(queue, yard, paths):
    yard.book(ID, now).close()
    marks = {f"{number:016x}" for number in range(60_000)}

    for mark in marks:
        queue.trace(ID, mark, 1)
    queue.record_traces({ID: job()})

    lines = (paths.jobs / f"{ID}.jsonl").read_text().splitlines()
    traced = [each for each in map(json.loads, lines) if each["kind"] == "traced"]
    assert set().union(*(each["marks"] for each in traced)) == marks


@pytest.fixture
def held(paths):
    """Hold what an attempt of an earlier daemon holds, for a job that is ``ID``."""
    folder = paths.active / f"{ID}.work" / "lock-deadbeef"
    folder.mkdir(parents=True)
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(fd, fcntl.LOCK_SH)
    yield fd
    os.close(fd)


@pytest.mark.usefixtures("held")
def test_a_job_that_has_to_wait_keeps_its_place_before_others_of_its_name(queue):
    first, second = job(), job("019a3c5d7e3-0123456789")
    queue.add(first)
    queue.add(second)

    assert queue.take({}, 10.0) is None

    assert queue.due(10.0) == 10.0 + BUSY_SECONDS


def test_the_next_of_a_name_is_opened_after_the_one_that_had_to_wait(queue, held):
    first, second = job(), job("019a3c5d7e3-0123456789")
    queue.add(first)
    queue.add(second)
    queue.take({}, 10.0)

    fcntl.flock(held, fcntl.LOCK_UN)

    assert queue.take({}, 10.0 + BUSY_SECONDS) is first
    assert queue.take({}, 10.0 + BUSY_SECONDS) is second


@pytest.mark.usefixtures("held")
def test_a_job_that_nobody_waits_for_any_more_makes_nothing_due(queue):
    queue.add(job())
    queue.take({}, 10.0)

    queue.forget(job())

    assert queue.due(10.0) is None


@pytest.mark.usefixtures("held")
def test_a_job_whose_time_has_come_and_that_must_wait_for_others_makes_nothing_due(queue):
    queue.add(job())
    queue.take({}, 10.0)

    assert queue.due(20.0) is None
