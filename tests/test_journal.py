import os
import random
import socket
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resumed import compaction, durable, journal
from resumed.errors import JournalCorruptError, JournalVersionError, StorageError
from resumed.journal import Journal
from resumed.model import Fact

AT = 1763812800.0
HEADER = Fact(journal.HEADER, AT, {"counts": {}})


@pytest.fixture
def path(tmp_path):
    compaction.create(tmp_path / "journal.jsonl", "00c0ffee", AT)
    return tmp_path / "journal.jsonl"


def read(path):
    """Return the reading and the kinds of all records that were applied."""
    found = []
    reading = journal.read(path, found.append)
    return reading, found


def writer(path):
    return Journal(path, read(path)[0])


def fill(path, groups=4, size=3):
    """Write groups of records, each made durable at once; return the content."""
    book = writer(path)
    for group in range(groups):
        for turn in range(size):
            book.append("done", AT + group, {"id": f"{group}-{turn}", "result": "π\udc80"})
        book.sync()
    book.close()
    return path.read_bytes()


def proved_bytes(content):
    """Say, without the reader's code, how many first bytes any line calls synced."""
    lines = content.splitlines(keepends=True)
    proved = max(int(line.split(b'"s":')[1].split(b",")[0]) for line in lines)
    return sum(map(len, lines[:proved]))


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(result=PLAIN, number=st.integers(1, 2**60))
def test_a_sealed_line_says_again_what_it_was_told(result, number):
    line = journal.seal(number, number - 1, "00c0ffee", Fact("done", AT, {"result": result}))
    assert line.isascii()
    assert line.count(b"\n") == 1
    record = journal.unseal(line)
    assert record is not None
    assert (record["n"], record["s"], record["kind"]) == (number, number - 1, "done")
    assert record["result"] == result


def test_a_line_without_particulars_is_whole_too():
    line = journal.seal(7, 6, "0", Fact("synced", AT, {}))
    assert journal.unseal(line)["at"] == "2025-11-22T12:00:00.000Z"


def test_a_record_longer_than_a_reader_accepts_is_refused_before_it_is_written(path):
    book = writer(path)
    with pytest.raises(ValueError, match="too long"):
        book.append("done", AT, {"result": "x" * journal.LINE_LIMIT_BYTES})
    book.append("done", AT, {"result": "x" * (journal.LINE_LIMIT_BYTES - 200)})
    book.sync()
    assert read(path)[0].last == 2


def with_sum(body):
    return b'%s,"crc":"%08x"}\n' % (body, zlib.crc32(body))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[1",
        b'{"n":"1","s":0,"g":"0","at":"x","kind":"y"',
        b'{"n":1,"g":"0","at":"x","kind":"y"',
        b'{"n":1,"s":0,"at":"x","kind":"y"',
        b'{"n":1,"s":0,"g":"0","kind":"y"',
        b'{"n":1,"s":0,"g":"0","at":"x"',
        b'{"n":1,"s":0,"g":"0","at":"x","kind":["y"]',
        b'{"n":1,"s":0,"g":"0","at":"x","kind":"y","deep":' + b"[" * 100_000,
        b'{"n":' + b"1" * 5000 + b',"s":0,"g":"0","at":"x","kind":"y"',
    ],
)
def test_a_right_sum_over_what_is_no_record_does_not_make_it_one(body):
    assert journal.unseal(with_sum(body)) is None


def test_a_new_journal_is_read_as_closed_and_empty(path):
    reading, found = read(path)
    assert (reading.last, reading.synced, reading.news, reading.closed) == (1, 1, 0, True)
    assert reading.torn is None
    assert [each["kind"] for each in found] == ["opened"]


def test_what_was_only_appended_is_not_in_the_file(path):
    book = writer(path)
    before = path.read_bytes()
    assert book.append("paused", AT, {"by": "a"}) == 2
    assert path.read_bytes() == before
    assert book.dirty
    book.write()
    assert len(path.read_bytes()) > len(before)
    assert book.dirty
    book.sync()
    assert not book.dirty


def test_what_was_written_survives_the_writer(path):
    book = writer(path)
    book.append("paused", AT, {"by": "a"})
    book.write()
    os.close(book._file)
    reading, _ = read(path)
    assert (reading.last, reading.closed) == (2, False)


def test_numbers_and_groups_go_on_where_the_file_ends(path):
    fill(path, groups=1, size=2)
    book = writer(path)
    assert book.append("done", AT, {"id": "x", "result": None}) == 4
    book.sync()
    records = read(path)[1]
    assert [(each["n"], each["s"]) for each in records] == [(1, 1), (2, 1), (3, 1), (4, 3)]


def test_a_closed_group_is_proved_and_closed_once(path):
    book = writer(path)
    assert book.closed
    book.append("paused", AT, {"by": "a"})
    assert not book.closed
    book.close_group(AT)
    assert book.closed
    content = path.read_bytes()
    book.close_group(AT)
    assert path.read_bytes() == content
    reading, _ = read(path)
    assert (reading.synced, reading.last, reading.closed, reading.news) == (2, 3, True, 1)
    writer(path).close_group(AT)
    assert path.read_bytes() == content


def test_an_empty_write_touches_nothing(path, monkeypatch):
    book = writer(path)
    monkeypatch.setattr(os, "write", None)
    monkeypatch.setattr(durable, "sync", None)
    book.write()
    book.sync()


def test_a_crash_at_any_byte_loses_only_what_was_not_synced(path):
    content = fill(path, groups=4, size=3)
    ends = [at + 1 for at, byte in enumerate(content) if byte == 10]
    first = proved_bytes(content)
    for length in range(first, len(content) + 1):
        path.write_bytes(content[:length])
        reading, found = read(path)
        whole = sum(end <= length for end in ends)
        assert len(found) == reading.last == whole
        assert (reading.torn is None) == (length in ends)
        if reading.torn:
            assert reading.torn.offset_bytes == ends[whole - 1]
            assert reading.torn.length_bytes == length - ends[whole - 1]
            assert reading.torn.line == whole + 1


@pytest.mark.parametrize("size", [1, 2])
def test_every_single_bit_flip_is_refused_or_torn_and_changes_no_byte(path, size):
    content = fill(path, groups=3, size=size)
    proved = proved_bytes(content)
    whole = [each["n"] for each in read(path)[1]]
    verdicts = []
    with path.open("r+b", buffering=0) as file:
        for at in range(len(content)):
            for bit in range(8):
                byte = bytes([content[at] ^ 1 << bit])
                os.pwrite(file.fileno(), byte, at)
                verdicts.append((at, verdict(path, whole)))
                assert (
                    os.pread(file.fileno(), 1 << 20, 0) == content[:at] + byte + content[at + 1 :]
                )
            os.pwrite(file.fileno(), content[at : at + 1], at)
    for at, (word, place) in verdicts:
        assert word == ("refused" if at < proved else "torn")
        assert place == content[:at].count(b"\n") + 1


def verdict(path, whole):
    """Judge the journal at *path*, of which nothing beyond *whole* may be taken."""
    found = []
    try:
        reading = journal.read(path, found.append)
    except JournalCorruptError as error:
        return "refused", error.line
    assert reading.torn is not None
    assert [each["n"] for each in found] == whole[: len(found)]
    return "torn", reading.torn.line


def test_an_unsynced_line_that_was_lost_before_one_that_was_kept_is_torn(path):
    content = fill(path, groups=2, size=3)
    lines = content.splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:4], bytes(len(lines[4])), *lines[5:]]))
    reading, found = read(path)
    assert reading.torn.line == 5
    assert len(found) == 4


@pytest.mark.parametrize("line", [2, 3, 4])
@pytest.mark.parametrize("damage", ["dropped", "doubled", "swapped", "zeroed", "stale"])
def test_damage_below_a_synced_number_is_corrupt(path, line, damage):
    lines = fill(path, groups=3, size=2).splitlines(keepends=True)
    at = line - 1
    stale = journal.seal(line, 1, "0badcafe", Fact("done", AT, {"id": "old", "result": 1}))
    changed = {
        "dropped": lines[:at] + lines[at + 1 :],
        "doubled": lines[: at + 1] + lines[at:],
        "swapped": [*lines[:at], lines[at + 1], lines[at], *lines[at + 2 :]],
        "zeroed": [*lines[:at], bytes(len(lines[at])), *lines[at + 1 :]],
        "stale": [*lines[:at], stale, *lines[at + 1 :]],
    }[damage]
    path.write_bytes(b"".join(changed))
    with pytest.raises(JournalCorruptError) as caught:
        read(path)
    assert caught.value.line == line + (damage == "doubled")
    assert path.read_bytes() == b"".join(changed)


def test_a_whole_tail_of_an_older_generation_is_torn_and_never_taken(path):
    content = fill(path, groups=1, size=2)
    stale = journal.seal(4, 3, "0badcafe", Fact("done", AT, {"id": "old", "result": 1}))
    path.write_bytes(content + stale)
    reading, found = read(path)
    assert (reading.torn.line, len(found)) == (4, 3)


def test_all_of_a_rewritten_file_is_proved(tmp_path):
    path = tmp_path / "journal.jsonl"
    facts = [Fact("paused", AT, {"by": str(turn)}) for turn in range(3)]
    content = journal.whole("1", "0", HEADER, facts)
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(JournalCorruptError):
            read(path)
    path.write_bytes(content)
    reading, found = read(path)
    assert (reading.last, reading.news, reading.closed) == (4, 0, True)
    assert found[0]["replaces"] == "0"


@pytest.mark.parametrize("tail", [b"\0" * 4096, b"x" * (2 << 20), b"\n", b"{}\n"])
def test_a_senseless_tail_is_torn_whatever_it_is(path, tail):
    content = fill(path)
    with path.open("ab") as file:
        file.write(tail)
    reading, _ = read(path)
    assert (reading.length_bytes, reading.torn.length_bytes) == (len(content), len(tail))


def test_a_torn_end_is_cut_and_work_goes_on(path):
    content = fill(path, groups=2, size=2)
    path.write_bytes(content + b'{"n":6,"s":5,')
    book = writer(path)
    assert path.read_bytes() == content
    book.append("paused", AT, {"by": ""})
    book.sync()
    assert read(path)[0].last == 6


@pytest.mark.parametrize("content", [b"", b"\0" * 512, b"\n", b"rubbish\n"])
def test_a_journal_without_its_first_line_is_corrupt(path, content):
    path.write_bytes(content)
    with pytest.raises(JournalCorruptError, match="first line"):
        read(path)


def test_a_first_line_that_is_no_header_is_corrupt(path):
    path.write_bytes(journal.seal(1, 1, "0", Fact("done", AT, {})))
    with pytest.raises(JournalCorruptError, match="not a header"):
        read(path)


def test_a_newer_format_is_refused_as_such(path):
    opening = {"format": journal.FORMAT + 1, "counts": {}}
    path.write_bytes(journal.seal(1, 1, "0", Fact("opened", AT, opening)))
    with pytest.raises(JournalVersionError, match="newer"):
        read(path)


@pytest.mark.parametrize("kind", ["folder", "fifo", "symlink", "socket"])
def test_what_only_has_the_journals_name_is_refused_without_waiting(path, kind):
    path.unlink()
    listener = socket.socket(socket.AF_UNIX)
    {
        "folder": path.mkdir,
        "fifo": lambda: os.mkfifo(path),
        "symlink": lambda: path.symlink_to("/etc/passwd"),
        "socket": lambda: bind(listener, path),
    }[kind]()
    with pytest.raises(JournalCorruptError, match="not a regular file"):
        read(path)
    listener.close()


def bind(listener, path):
    there = os.open(path.parent, os.O_RDONLY)
    listener.bind(f"/proc/self/fd/{there}/{path.name}")
    os.close(there)


def test_a_missing_journal_is_told_as_missing(path):
    path.unlink()
    with pytest.raises(FileNotFoundError):
        read(path)


@pytest.mark.parametrize("number", ["EMFILE", "ENFILE", "EIO", "EINTR"])
def test_a_fault_of_the_machine_is_not_called_damage(path, monkeypatch, number):
    import errno

    def refuse(*_, **__):
        raise OSError(getattr(errno, number), number)

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", refuse)
        with pytest.raises(StorageError) as caught:
            read(path)
    assert caught.value.errno == getattr(errno, number)


def refuse_once(monkeypatch, name, number=5):
    """Let the first call of an `os` function fail, and the next ones succeed falsely."""
    real, calls = getattr(os, name), []

    def call(*arguments):
        calls.append(arguments)
        if len(calls) == 1:
            raise OSError(number, "planted")
        return real(*arguments)

    monkeypatch.setattr(os, name, call)
    return calls


def test_a_failed_sync_is_never_repeated_and_nothing_is_told_after_it(path, monkeypatch):
    book = writer(path)
    calls = refuse_once(monkeypatch, "fdatasync")
    book.append("paused", AT, {"by": ""})
    for _ in range(3):
        with pytest.raises(StorageError, match="planted"):
            book.sync()
    with pytest.raises(StorageError, match="planted"):
        book.close_group(AT)
    assert book.dirty
    assert len(calls) == 1


def test_a_failed_write_is_taken_back_and_never_repeated(path, monkeypatch):
    content = fill(path)
    book = writer(path)
    real, sizes = os.write, []

    def short_then_full(fd, rest):
        sizes.append(len(rest))
        if len(sizes) > 1:
            raise OSError(28, "planted")
        return real(fd, bytes(rest)[:7])

    monkeypatch.setattr(os, "write", short_then_full)
    book.append("paused", AT, {"by": ""})
    for _ in range(3):
        with pytest.raises(StorageError, match="planted"):
            book.sync()
    assert len(sizes) == 2
    assert path.read_bytes() == content


def test_a_failed_write_that_cannot_be_taken_back_is_cut_by_the_next_start(path, monkeypatch):
    content = fill(path)
    book = writer(path)
    real = os.write
    answers = iter([lambda fd, rest: real(fd, bytes(rest)[:7]), None])

    def write(fd, rest):
        answer = next(answers)
        if answer is None:
            raise OSError(5, "planted")
        return answer(fd, rest)

    def refuse(*_):
        raise OSError(5, "planted")

    monkeypatch.setattr(os, "write", write)
    monkeypatch.setattr(os, "ftruncate", refuse)
    book.append("paused", AT, {"by": ""})
    with pytest.raises(StorageError):
        book.write()
    monkeypatch.undo()
    assert len(path.read_bytes()) == len(content) + 7
    writer(path).close()
    assert path.read_bytes() == content


def test_a_short_write_is_continued(path, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, rest: real(fd, bytes(rest)[:3]))
    fill(path, groups=2)
    reading, _ = read(path)
    assert (reading.last, reading.torn) == (7, None)


def test_a_tail_that_cannot_be_cut_is_the_disks_refusal(path, monkeypatch):
    fill(path)
    with path.open("ab") as file:
        file.write(b"torn")

    def refuse(*_):
        raise OSError(5, "planted")

    monkeypatch.setattr(os, "ftruncate", refuse)
    with pytest.raises(StorageError, match="planted"):
        writer(path)


def test_closing_twice_is_fine(path):
    book = writer(path)
    book.close()
    book.close()


def test_random_bytes_never_pass_for_a_record(path):
    rng = random.Random(3)
    content = fill(path)
    for _ in range(300):
        damaged = bytearray(content)
        at = rng.randrange(proved_bytes(content))
        damaged[at : at + rng.randrange(1, 200)] = rng.randbytes(rng.randrange(1, 200))
        path.write_bytes(damaged)
        with pytest.raises(JournalCorruptError):
            read(path)
