import os

import pytest

from resumed import compaction, durable, history, journal
from resumed.errors import JournalCorruptError, JournalVersionError, StorageError
from resumed.journal import Journal
from resumed.ledger import Ledger
from resumed.model import Fact

AT = 1763812800.0
CLAIM = {"name": "a", "inode": 1, "size": 1, "mtime_ns": 1, "owner": 0}


@pytest.fixture
def path(tmp_path):
    compaction.create(tmp_path / "journal.jsonl", "1", AT)
    (tmp_path / "history").mkdir()
    return tmp_path / "journal.jsonl"


@pytest.fixture
def archive(tmp_path):
    return tmp_path / "history"


def write(path, *facts):
    """Append facts; return the writer, still open, and the ledger of all."""
    book = Journal(path, journal.read(path, lambda _: None))
    for kind, particulars in facts:
        book.append(kind, AT, particulars)
    book.sync()
    return book, compaction.replay(path)[0]


ONE_OVER_ONE_LIVE = (
    ("claimed", {**CLAIM, "id": "i"}),
    ("done", {"id": "i", "attempt": 1, "result": None, "seconds": 0}),
    ("put_away", {"id": "i", "as": "a"}),
    ("claimed", {**CLAIM, "id": "j"}),
    ("started", {"id": "j", "attempt": 1}),
    ("stepped", {"id": "j", "step": "one", "result": 1}),
)


def test_a_first_journal_never_replaces_a_file(path):
    content = path.read_bytes()
    with pytest.raises(FileExistsError):
        compaction.create(path, "2", AT)
    assert path.read_bytes() == content


def test_a_rewritten_journal_means_the_same_in_fewer_records(path, archive):
    book, ledger = write(path, *ONE_OVER_ONE_LIVE)
    before = path.read_bytes()
    fresh = compaction.rewrite(book, ledger, "2", AT, archive)
    again, reading = compaction.replay(path)
    assert again == ledger
    assert (reading.last, reading.news, reading.closed) == (4, 0, True)
    assert (fresh.generation, fresh.last) == ("2", 4)
    assert (path.parent / "journal.prev").read_bytes() == before
    assert again.counts == {"done": 1}
    assert not (path.parent / "journal.new").exists()


def test_what_a_rewriting_drops_is_in_the_history(path, archive):
    book, ledger = write(path, *ONE_OVER_ONE_LIVE)
    compaction.rewrite(book, ledger, "2", AT, archive)
    kinds = [each["kind"] for each in history.read(archive)]
    assert kinds == [kind for kind, _ in ONE_OVER_ONE_LIVE]


def test_rewriting_again_adds_no_history(path, archive):
    book, ledger = write(path, *ONE_OVER_ONE_LIVE)
    book = compaction.rewrite(book, ledger, "2", AT, archive)
    before = list(history.read(archive))
    compaction.rewrite(book, ledger, "3", AT, archive)
    assert list(history.read(archive)) == before
    assert compaction.replay(path)[0] == ledger


def test_a_stale_temporary_file_longer_than_the_new_one_does_no_harm(path, archive):
    (path.parent / "journal.new").write_bytes(b"x" * 100_000)
    book, ledger = write(path, *ONE_OVER_ONE_LIVE)
    compaction.rewrite(book, ledger, "2", AT, archive)
    assert compaction.replay(path)[0] == ledger


def test_a_file_that_means_something_else_never_takes_the_journals_place(path, archive):
    book, _ = write(path, *ONE_OVER_ONE_LIVE)
    content = path.read_bytes()

    class Liar(Ledger):
        def facts(self):
            yield Fact("paused", AT, {"by": ""})

    with pytest.raises(ValueError, match="does not mean the same"):
        compaction.rewrite(book, Liar(), "2", AT, archive)
    assert path.read_bytes() == content


@pytest.mark.parametrize("call", ["write", "fdatasync", "link", "rename", "fsync", "open"])
@pytest.mark.parametrize("turn", range(1, 5))
def test_a_refusal_at_any_moment_leaves_a_whole_journal(path, archive, monkeypatch, call, turn):
    book, ledger = write(path, *ONE_OVER_ONE_LIVE)
    real, calls = getattr(os, call), []

    def refuse_one(*arguments, **keywords):
        calls.append(arguments)
        if len(calls) == turn:
            raise OSError(28, "planted")
        return real(*arguments, **keywords)

    with monkeypatch.context() as patched:
        patched.setattr(os, call, refuse_one)
        try:
            compaction.rewrite(book, ledger, "2", AT, archive)
        except OSError as error:
            assert "planted" in str(error)  # noqa: PT017 - or nothing was refused
        except StorageError as error:
            assert error.errno == 28  # noqa: PT017
        else:
            assert len(calls) < turn
    again, reading = compaction.replay(path)
    assert again == ledger
    assert reading.torn is None


def test_an_unknown_kind_is_a_newer_programs(path):
    book = Journal(path, journal.read(path, lambda _: None))
    book.append("exploded", AT, {})
    book.sync()
    with pytest.raises(JournalVersionError, match=r":2: .*exploded"):
        compaction.replay(path)


@pytest.mark.parametrize(
    ("kind", "particulars"),
    [
        ("done", {"id": "nobody", "result": None}),
        ("claimed", {"id": "i"}),
        ("waiting", {"id": "i", "error": "no object"}),
        ("gone", {"id": "nobody"}),
        ("opened", {"counts": 3}),
    ],
)
def test_a_sound_line_that_cannot_follow_is_corrupt_and_named(path, kind, particulars):
    book = Journal(path, journal.read(path, lambda _: None))
    book.append(kind, AT, particulars)
    book.sync()
    with pytest.raises(JournalCorruptError, match="cannot follow") as caught:
        compaction.replay(path)
    assert caught.value.line == 2


def test_torn_bytes_are_kept_beside_the_journal_once(path):
    with path.open("ab") as file:
        file.write(b"half a line")
    torn = journal.read(path, lambda _: None).torn
    name = compaction.save_torn(path, torn)
    assert (path.parent / name).read_bytes() == b"half a line"
    assert compaction.save_torn(path, torn) == name
    assert sorted(each.name for each in path.parent.glob("journal.tail-*")) == [name]
    assert not list(path.parent.glob(durable.TEMPORARY_PREFIX + "*"))


def test_only_a_large_dead_part_is_worth_a_rewriting(path):
    book, _ = write(path)
    limit = compaction.WORTH_BYTES
    assert not compaction.worth_it(book, 0)
    book.length_bytes = 3 * limit
    assert compaction.worth_it(book, limit)
    assert not compaction.worth_it(book, 2 * limit)
    book.length_bytes = 2 * limit + 2
    assert compaction.worth_it(book, limit)
    assert not compaction.worth_it(book, limit + 2)
