import errno
import io
import json
import os
import time
from functools import partial

import pytest

from resumed import openjob, tables
from resumed.entry import Entry
from resumed.errors import StorageError
from resumed.jobbook import JobBook
from resumed.model import Identity
from resumed.openjob import ChangedError, OpenJob

ID = "019a3c5d7e2-0123456789"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.jsonl"


@pytest.fixture
def opened(tmp_path, path):
    """Open a job of so many parts, split to its end."""
    jobs = []

    def make(count, file=None):
        path.write_text("".join(json.dumps({"id": f"p{n:06}"}) + "\n" for n in range(count)))
        entry = Entry(ID, path.name, Identity(1, 2, 3), owner=0, claimed_at=0.0)
        book = JobBook(tmp_path, ID, time.time, "0badcafe")
        lines = tables.reader(lambda: (file or open)(path, "rb"), path.name, "id")
        job = OpenJob(entry, book, lines, folder=tmp_path, path=path, lock=str(tmp_path))
        jobs.append(job)
        job.work(60)
        return job

    yield make
    for job in jobs:
        job.close()


def end(job, number, part, kind, **more):
    key = job.piece(number, part, 1).key
    job.book.record(kind, part=part.id, key=key, attempt=1, **more)


def wait(job, number, part, seconds):
    end(job, number, part, "waiting", delay=seconds, error={"kind": "x", "text": "y"})
    job.put_off(number, time.monotonic() + seconds)


def test_a_part_far_behind_others_is_found_without_being_asked_for_again(opened, monkeypatch):
    monkeypatch.setattr(openjob, "_LOOKS", 10)
    job = opened(200)
    *others, (last, part) = job.take(200)
    for number, each in others:
        end(job, number, each, "done", seconds=0.0, result=None)
    wait(job, last, part, 3600)
    assert job.take(1) == []

    job.book.record("retried", key=None, fresh=False)
    job.look_again()

    turns = 0
    while job.busy:
        job.seek()
        turns += 1
    assert turns == 20
    assert job.take(1) == [(last, part)]


def test_two_parts_far_apart_are_both_found(opened, monkeypatch):
    monkeypatch.setattr(openjob, "_LOOKS", 10)
    job = opened(200)
    taken = job.take(200)
    for number, each in taken:
        if number not in (50, 150):
            end(job, number, each, "done", seconds=0.0, result=None)
    job.give_back(50)
    job.give_back(150)
    job.look_again()

    found = []
    while job.ready:
        found += [number for number, _ in job.take(64)]
        assert found == [50, 150] or job.busy
        job.seek()
    assert found == [50, 150]


def test_a_part_that_was_tried_by_hand_waits_its_whole_time_after_that(opened):
    job = opened(1)
    ((number, part),) = job.take(1)
    wait(job, number, part, 10)
    job.book.record("retried", key=None, fresh=False)
    job.look_again()
    ((number, part),) = job.take(1)

    wait(job, number, part, 100)

    now = time.monotonic()
    job.wake(now + 50)
    assert job.take(1) == []
    job.wake(now + 200)
    assert [each for each, _ in job.take(1)] == [number]


@pytest.mark.parametrize("content", [b'{"id":"p0"', b"", b'{"id":"other"}\n{"id":"more"}\n'])
def test_a_part_is_not_read_from_a_file_that_was_changed(opened, path, content):
    job = opened(1)

    path.write_bytes(content)

    with pytest.raises(ChangedError):
        job.read(0)


class Worn(io.BufferedReader):
    """A file on a worn disk: behind *sound* lines nothing of it can be read."""

    def __init__(self, path, _mode, sound=3, code=errno.EIO):
        super().__init__(io.FileIO(path))
        self.sound, self.code = sound, code

    def readline(self, size=-1):
        self.sound -= 1
        if self.sound < 0:
            raise OSError(self.code, os.strerror(self.code))
        return super().readline(size)


def test_a_file_that_cannot_be_read_to_its_end_fails_its_job_alone(opened):
    """The daemon ended with it, and each of its next starts."""
    job = opened(10, file=Worn)

    assert not job.slicing
    assert (job.whole, job.ready) == (False, False)
    assert job.ledger.fault["error"]["kind"] == "unreadable"
    assert "Input/output error" in job.ledger.fault["error"]["text"]


def test_a_part_that_cannot_be_read_again_fails_its_job_as_unreadable(opened):
    files = []

    def worn(path, mode):
        files.append(Worn(path, mode, sound=100))
        return files[-1]

    job = opened(10, file=worn)
    for each in files:
        each.sound = 0

    with pytest.raises(ChangedError):
        job.take(1)
    job.fail_changed()

    assert job.ledger.fault["error"]["kind"] == "unreadable"


def test_a_want_of_memory_is_no_fault_of_the_file(opened):
    with pytest.raises(StorageError):
        opened(10, file=partial(Worn, code=errno.ENOMEM))
