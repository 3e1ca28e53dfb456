import json
import os

import pytest

from resumed import compaction, journal
from resumed.errors import JournalCorruptError, StorageError
from resumed.recorder import Recorder
from resumed.settings import Paths

AT = 1763812800.0
CLAIM = {"name": "a", "inode": 1, "size": 1, "mtime_ns": 1, "owner": 0}


@pytest.fixture
def paths(tmp_path):
    made = Paths.below(tmp_path, tmp_path / "state")
    made.history.mkdir(parents=True)
    return made


class Bits:
    def __init__(self):
        self.turn = 0

    def __call__(self, _):
        self.turn += 1
        return self.turn


@pytest.fixture
def start(paths):
    bits, opened = Bits(), []

    def open_it():
        opened.append(Recorder(paths, lambda: AT, bits))
        return opened[-1]

    yield open_it
    for each in opened:
        each._journal.close()


def kinds(paths):
    return [json.loads(line)["kind"] for line in paths.journal.read_bytes().splitlines()]


def test_a_first_start_makes_a_journal_and_remembers_that_it_did(paths, start):
    start().close()
    assert kinds(paths) == ["opened"]
    assert (paths.state / "initialised").exists()


def test_a_missing_journal_that_was_there_is_a_loss_and_no_first_start(paths, start):
    start().close()
    paths.journal.unlink()
    with pytest.raises(JournalCorruptError, match="missing"):
        start()
    assert not paths.journal.exists()


def test_a_start_that_died_before_the_mark_is_no_loss(paths, start):
    start().close()
    (paths.state / "initialised").unlink()
    start().close()
    assert (paths.state / "initialised").exists()


def test_a_second_start_changes_not_a_byte(paths, start):
    first = start()
    first.record("paused", by="test")
    first.close()
    start().close()
    content = paths.journal.read_bytes()
    start().close()
    assert paths.journal.read_bytes() == content


def test_what_waits_is_done_after_the_sync_and_once(paths, start):
    book, told = start(), []
    book.record("paused", by="test")
    assert book.urgent
    book.then(lambda: told.append((book.dirty, kinds(paths))))
    assert told == []
    assert book.commit()
    assert told == [(False, ["opened", "paused"])]
    assert not book.urgent
    assert not book.commit()
    assert len(told) == 1


def test_nothing_is_told_after_a_refusal_of_the_disk(start, monkeypatch):
    book, told = start(), []
    book.record("paused", by="test")
    book.then(lambda: told.append(1))

    def refuse(_):
        monkeypatch.undo()
        raise OSError(5, "planted")

    monkeypatch.setattr(os, "fdatasync", refuse)
    for act in (book.commit, book.commit, book.settle, book.close):
        with pytest.raises(StorageError, match="planted"):
            act()
    assert told == []


def test_a_lazy_record_is_in_the_file_after_the_next_commit(paths, start):
    book = start()
    book.record_lazily("paused", by="test")
    assert kinds(paths) == ["opened"]
    assert not book.commit()
    assert book.dirty
    assert kinds(paths) == ["opened", "paused"]
    book.settle()
    assert kinds(paths) == ["opened", "paused", "synced"]
    assert book.closed


def test_what_the_ledger_cannot_take_in_never_gets_into_the_file(paths, start):
    book = start()
    with pytest.raises(KeyError):
        book.record("done", id="nobody", attempt=1, result=None, seconds=0)
    book.record("paused", by="test")
    book.close()
    assert kinds(paths) == ["opened", "paused", "synced"]


def test_a_torn_end_is_kept_told_and_cut(paths, start):
    book = start()
    book.record("paused", by="test")
    book.close()
    whole = paths.journal.read_bytes()
    paths.journal.write_bytes(whole + b'{"n":4')
    again = start()
    length, name = again.torn
    assert (length, (paths.state / name).read_bytes()) == (6, b'{"n":4')
    assert again.ledger.paused
    assert compaction.replay(paths.journal)[1].torn is None


def test_a_corrupt_journal_is_left_byte_identical(paths, start):
    book = start()
    book.record("paused", by="test")
    book.close()
    damaged = paths.journal.read_bytes().replace(b"paused", b"paufed")
    paths.journal.write_bytes(damaged)
    before = {each: each.read_bytes() for each in paths.state.glob("*") if each.is_file()}
    with pytest.raises(JournalCorruptError):
        start()
    assert {each: each.read_bytes() for each in paths.state.glob("*") if each.is_file()} == before


def test_a_start_rewrites_what_an_earlier_run_added(start):
    book = start()
    for turn in range(20):
        book.record("claimed", id=str(turn), **CLAIM)
        book.record("done", id=str(turn), attempt=1, result=None, seconds=0)
        book.record("put_away", id=str(turn), **{"as": "a"})
    book.close()
    before = book.length_bytes
    again = start()
    assert again.length_bytes < before / 5
    assert again.ledger.counts == {"done": 20}
    assert not again.worth_compacting()


def test_without_space_nothing_is_rewritten_and_work_goes_on(paths, start, monkeypatch):
    book = start()
    book.record("paused", by="test")
    book.close()
    content = paths.journal.read_bytes()
    real = os.statvfs(paths.state)
    values = [0 if index in (3, 4) else value for index, value in enumerate(real)]
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result(values))
    again = start()
    assert again.not_compacted == "too little space"
    assert paths.journal.read_bytes() == content
    again.record("unpaused", by="test")
    assert again.compact() is None
    monkeypatch.undo()
    assert again.compact() is not None
    assert again.not_compacted is None
    assert not again.ledger.paused


def test_a_large_journal_of_living_items_is_not_rewritten_for_its_size(start, monkeypatch):
    monkeypatch.setattr(compaction, "WORTH_BYTES", 100)
    book = start()
    for turn in range(10):
        book.record("claimed", id=str(turn), **CLAIM)
    book.close()
    start().close()
    again = start()
    assert not again.worth_compacting()
    for _ in range(40):
        again.record("paused", by="test")
    again.commit()
    assert again.worth_compacting()


def test_times_are_told_to_the_millisecond_and_come_back_the_same(paths, start):
    book = start()
    book._clock = lambda: -0.0015
    book.record("claimed", id="i", **CLAIM)
    claimed_at = book.ledger.items["i"].claimed_at
    book.close()
    found = []
    journal.read(paths.journal, found.append)
    assert found[1]["at"] == "1969-12-31T23:59:59.998Z"
    assert start().ledger.items["i"].claimed_at == claimed_at
