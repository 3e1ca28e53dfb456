import os

import pytest

from resumed import compaction, history, journal
from resumed.errors import StorageError
from resumed.journal import Journal

DAY = 86400.0
AT = 1763812800.0  # 2025-11-22T12:00Z


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "history").mkdir()
    return tmp_path / "history"


@pytest.fixture
def path(tmp_path):
    compaction.create(tmp_path / "journal.jsonl", "1", AT)
    return tmp_path / "journal.jsonl"


def write(path, *facts):
    reading = journal.read(path, lambda _: None)
    book = Journal(path, reading)
    for kind, at in facts:
        book.append(kind, at, {"by": "test"})
    book.close_group(AT)
    book.close()


def told(folder, **since):
    return [(each["g"], each["n"], each["kind"]) for each in history.read(folder, **since)]


def test_news_go_to_the_files_of_their_days_byte_for_byte(path, folder):
    write(path, ("paused", AT), ("unpaused", AT + DAY))
    history.archive(path, folder)
    lines = path.read_bytes().splitlines(keepends=True)
    assert (folder / "2025-11-22.jsonl").read_bytes() == lines[1]
    assert (folder / "2025-11-23.jsonl").read_bytes() == lines[2]
    assert told(folder) == [("1", 2, "paused"), ("1", 3, "unpaused")]


def test_neither_the_header_nor_proofs_of_a_sync_are_news(path, folder):
    history.archive(path, folder)
    assert os.listdir(folder) == []


def test_a_folder_that_was_deleted_with_its_files_is_made_anew(path, folder):
    write(path, ("paused", AT))
    folder.rmdir()
    history.archive(path, folder)
    assert told(folder) == [("1", 2, "paused")]


def test_what_is_archived_twice_is_told_once(path, folder):
    write(path, ("paused", AT))
    history.archive(path, folder)
    write(path, ("unpaused", AT))
    history.archive(path, folder)
    assert len((folder / "2025-11-22.jsonl").read_bytes().splitlines()) == 3
    assert told(folder) == [("1", 2, "paused"), ("1", 4, "unpaused")]


def test_a_crash_at_any_byte_of_an_archive_loses_nothing_of_the_next(path, folder):
    write(path, ("paused", AT), ("unpaused", AT), ("paused", AT))
    history.archive(path, folder)
    file = folder / "2025-11-22.jsonl"
    content, everything = file.read_bytes(), told(folder)
    for length in range(len(content)):
        for tail in (b"", b"\0\0"):
            file.write_bytes(content[:length] + tail)
            history.archive(path, folder)
            assert told(folder) == everything


def test_only_days_from_the_one_asked_for_are_read(path, folder):
    write(path, ("paused", AT), ("unpaused", AT + DAY))
    history.archive(path, folder)
    (folder / "notes.txt").write_text("a person's")
    assert told(folder, since="2025-11-23T08:00") == [("1", 3, "unpaused")]


def test_without_a_folder_there_is_no_history(tmp_path):
    assert list(history.read(tmp_path / "missing")) == []


def test_a_retold_fact_is_no_news():
    assert not history.is_news({"n": 2, "s": 9, "kind": "claimed"})
    assert not history.is_news({"n": 2, "s": 1, "kind": "synced"})
    assert history.is_news({"n": 2, "s": 1, "kind": "claimed"})


def test_a_refusal_of_the_disk_is_told_as_one(path, folder):
    write(path, ("paused", AT))
    (folder / "2025-11-22.jsonl").mkdir()
    with pytest.raises(StorageError):
        history.archive(path, folder)
