"""Damage journals in every place, and see what a repair makes of them."""

import itertools
import json
import os

import pytest

from resumed import audit, compaction, place, salvage
from resumed.errors import JournalCorruptError
from resumed.model import Done, Failed, Held, Pending, Waiting
from resumed.recorder import Recorder

AT = 1763812800.0
ERROR = {"kind": "builtins.ValueError", "text": "no"}


@pytest.fixture
def paths(home):
    made = place.find(home=home.path)
    made.history.mkdir()
    return made


@pytest.fixture
def start(paths):
    bits, opened = itertools.count(1), []

    def open_it():
        opened.append(Recorder(paths, lambda: AT, lambda _: next(bits)))
        return opened[-1]

    yield open_it
    for each in opened:
        each._journal.close()


def id_of(number):
    return f"019a3c5d7e2-{number:010x}"


A, B, C = (id_of(number) for number in range(1, 4))


def claim(recorder, item_id, name="a.txt"):
    inode = int(item_id[-1])
    recorder.record("claimed", id=item_id, name=name, inode=inode, size=3, mtime_ns=1, owner=0)


def damage(path, line, how=b"X"):
    """Change one byte in the middle of a line, counted from 1."""
    lines = path.read_bytes().splitlines(keepends=True)
    at = len(lines[line - 1]) - 25
    lines[line - 1] = lines[line - 1][:at] + how + lines[line - 1][at + 1 :]
    path.write_bytes(b"".join(lines))


def unreadable(path, line):
    """Overwrite a whole line, newline and all but its length."""
    lines = path.read_bytes().splitlines(keepends=True)
    lines[line - 1] = b"\x1b" * (len(lines[line - 1]) - 1) + b"\n"
    path.write_bytes(b"".join(lines))


def line_of(path, kind, item_id=None):
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        record = json.loads(line)
        if record["kind"] == kind and record.get("id") == item_id:
            return number
    raise LookupError(kind)


def states(paths):
    ledger, reading = compaction.replay(paths.journal)
    assert reading.torn is None
    return {item_id: entry.state for item_id, entry in ledger.items.items()}


def repair(paths):
    return salvage.repair(paths, "feedbeef", AT)


def test_a_clean_journal_has_no_bad_lines(paths, start):
    recorder = start()
    claim(recorder, A)
    recorder.close()

    found = salvage.examine(paths.journal)

    assert (found.bad, found.corrupt) == ([], False)


def test_a_torn_end_is_not_corrupt(paths, start):
    recorder = start()
    claim(recorder, A)
    recorder.close()
    with paths.journal.open("ab") as file:
        file.write(b'{"n":4,"s":3,')

    found = salvage.examine(paths.journal)

    assert [each.line for each in found.bad] == [4]
    assert not found.corrupt


def test_every_bad_line_is_named_with_its_place(paths, start):
    recorder = start()
    for number in range(1, 8):
        claim(recorder, id_of(number))
        recorder.commit()
    recorder.close()
    for line in (3, 5):
        damage(paths.journal, line)

    found = salvage.examine(paths.journal)

    lines = paths.journal.read_bytes().splitlines(keepends=True)
    assert [(each.line, each.offset_bytes) for each in found.bad] == [
        (3, len(b"".join(lines[:2]))),
        (5, len(b"".join(lines[:4]))),
    ]
    assert found.corrupt


def test_the_old_journal_is_kept_as_it_was(paths, start):
    recorder = start()
    claim(recorder, A)
    claim(recorder, B)
    recorder.close()
    damage(paths.journal, 2)
    before = paths.journal.read_bytes()

    done = repair(paths)
    again = repair(paths)

    assert (paths.state / done.broken).read_bytes() == before
    assert again.broken != done.broken


def test_only_the_item_of_a_legible_line_goes_on_hold(paths, start):
    recorder = start()
    claim(recorder, A)
    claim(recorder, B)
    recorder.record("started", id=A, attempt=1)
    recorder.commit()
    recorder.record("stepped", id=A, step="one", result="1234567890")
    recorder.commit()
    recorder.close()
    damage(paths.journal, line_of(paths.journal, "stepped", A))

    done = repair(paths)

    assert isinstance(states(paths)[A], Held)
    assert isinstance(states(paths)[B], Pending)
    assert (done.held, done.from_previous, done.bad) == (("a.txt",), False, 1)


def test_an_illegible_line_puts_all_that_it_may_be_about_on_hold(paths, start):
    recorder = start()
    claim(recorder, A)
    claim(recorder, B)
    recorder.commit()
    recorder.record("started", id=A, attempt=1)
    recorder.record("done", id=B, attempt=1, result=None, seconds=0)
    recorder.commit()
    claim(recorder, C)
    recorder.close()
    unreadable(paths.journal, line_of(paths.journal, "started", A))

    repair(paths)

    found = states(paths)
    assert isinstance(found[A], Held)
    assert isinstance(found[B], Done)
    assert isinstance(found[C], Pending)


def test_a_start_after_the_gap_does_not_prove_that_no_step_was_lost(paths, start):
    recorder = start()
    claim(recorder, A)
    recorder.commit()
    recorder.record("stepped", id=A, step="one", result=1)
    recorder.commit()
    recorder.record("started", id=A, attempt=2)
    recorder.close()
    unreadable(paths.journal, 3)

    repair(paths)

    assert isinstance(states(paths)[A], Held)


def test_a_failed_item_whose_file_is_in_its_place_stays_failed(paths, start):
    kept = paths.failed / "b.txt"
    kept.write_text("bad")
    status = kept.stat()
    recorder = start()
    identity = {"inode": status.st_ino, "size": 3, "mtime_ns": status.st_mtime_ns}
    for item_id, name, where in ((A, "a.txt", {**identity, "inode": 1}), (B, "b.txt", identity)):
        recorder.record("claimed", id=item_id, name=name, owner=0, **where)
        recorder.record("failed", id=item_id, attempt=1, step=None, error=ERROR, output="")
        recorder.record("put_away", id=item_id, **{"as": name})
    recorder.commit()
    claim(recorder, C)
    recorder.commit()
    recorder.record("started", id=C, attempt=1)
    recorder.close()
    unreadable(paths.journal, line_of(paths.journal, "claimed", C))

    repair(paths)

    assert isinstance(states(paths)[B], Failed)
    assert isinstance(states(paths)[A], Held)


def test_what_the_previous_journal_tells_too_is_not_lost(paths, start):
    recorder = start()
    claim(recorder, A)
    recorder.record("stepped", id=A, step="one", result=1)
    recorder.record("waiting", id=A, attempt=1, step=None, error=ERROR, delay=60.0)
    claim(recorder, B)
    recorder.close()
    recorder = start()
    recorder.record("started", id=B, attempt=1)
    recorder.record("done", id=B, attempt=1, result=None, seconds=0)
    recorder.close()
    before, _ = compaction.replay(paths.journal)
    for line in (2, 3):
        unreadable(paths.journal, line)

    done = repair(paths)

    assert done.from_previous
    assert done.held == ()
    assert compaction.replay(paths.journal)[0] == before
    assert isinstance(states(paths)[A], Waiting)


def test_done_stays_done_though_its_claim_is_lost(paths, start):
    entry = paths.active / A
    entry.mkdir()
    (entry / "a.txt").write_text("abc")
    recorder = start()
    claim(recorder, A)
    recorder.commit()
    recorder.record("started", id=A, attempt=1)
    recorder.record("done", id=A, attempt=1, result=5, seconds=0)
    recorder.close()
    unreadable(paths.journal, 2)

    done = repair(paths)

    assert states(paths)[A].result == 5
    assert done.held == ()


def test_a_file_in_active_whose_records_are_lost_goes_on_hold(paths, start):
    for item_id, name in ((A, "a.txt"), (B, "b.txt")):
        (paths.active / item_id).mkdir()
        (paths.active / item_id / name).write_text("abc")
    (paths.active / f"{A}.work").mkdir()
    (paths.active / ".lock").touch()
    (paths.active / "link").symlink_to("/")
    recorder = start()
    claim(recorder, A)
    claim(recorder, B, "b.txt")
    recorder.commit()
    claim(recorder, C)
    recorder.commit()
    recorder.record("started", id=A, attempt=1)
    recorder.close()
    unreadable(paths.journal, 2)

    repair(paths)

    found = states(paths)
    assert isinstance(found[A], Held)
    # Its claim came before the gap's end, and its last state is not known.
    assert isinstance(found[B], Pending | Held)


def test_a_missing_journal_begins_anew_with_all_files_on_hold(paths, start):
    (paths.active / A).mkdir()
    (paths.active / A / "a.txt").write_text("abc")
    start().close()
    paths.journal.unlink()

    done = repair(paths)

    assert done.broken is None
    assert done.held == ("a.txt",)
    assert [type(state) for state in states(paths).values()] == [Held]


@pytest.mark.parametrize("line", range(1, 11))
def test_whatever_line_is_lost_the_next_start_opens_and_runs_nothing_twice(paths, start, line):
    recorder = start()
    for item_id, name in ((A, "a.txt"), (B, "b.txt")):
        (paths.active / item_id).mkdir()
        (paths.active / item_id / name).write_text("abc")
        claim(recorder, item_id, name)
        recorder.commit()
    for kind, item_id, facts in (
        ("started", A, {"attempt": 1}),
        ("started", B, {"attempt": 1}),
        ("stepped", B, {"step": "one", "result": 1}),
        ("done", A, {"attempt": 1, "result": None, "seconds": 0}),
        ("waiting", B, {"attempt": 1, "step": None, "error": ERROR, "delay": 1.0}),
        ("started", B, {"attempt": 2}),
    ):
        recorder.record(kind, id=item_id, **facts)
        recorder.commit()
    recorder.close()
    whole = len(paths.journal.read_bytes().splitlines())
    assert whole == 10
    unreadable(paths.journal, line)
    if line == whole:
        assert not salvage.examine(paths.journal).corrupt
        return
    with pytest.raises(JournalCorruptError):
        start()

    repair(paths)
    start()

    found = states(paths)
    assert isinstance(found[A], Done | Held)
    entry = compaction.replay(paths.journal)[0].items[B]
    assert isinstance(entry.state, Held) or entry.steps == {"one": 1}


def test_what_was_repaired_is_told_in_the_story(paths, start):
    recorder = start()
    claim(recorder, A)
    recorder.commit()
    recorder.record("started", id=A, attempt=1)
    recorder.commit()
    recorder.record("stepped", id=A, step="one", result=1)
    recorder.close()
    unreadable(paths.journal, 3)
    repair(paths)

    start()

    [day] = paths.history.iterdir()
    held = [json.loads(line) for line in day.read_bytes().splitlines() if b'"held"' in line]
    assert [each["why"] for each in held] == ["journal repaired"]
    assert os.stat(paths.journal).st_mode & 0o777 == 0o640


@pytest.mark.parametrize("compacted", [False, True])
def test_whatever_line_was_damaged_the_counts_are_no_less_than_the_history_tells(
    paths, start, compacted
):
    recorder = start()
    for number, outcome in enumerate(("done", "gone", "removed"), start=1):
        claim(recorder, id_of(number))
        particulars = {"done": {"attempt": 1, "result": None, "seconds": 0}, "gone": {"why": "x"}}
        recorder.record(outcome, id=id_of(number), **particulars.get(outcome, {}))
        if outcome != "gone":
            recorder.record("put_away", id=id_of(number), **{"as": "a.txt"})
        recorder.commit()
        if compacted and outcome == "done":
            recorder.compact()
    recorder.close()
    content = paths.journal.read_bytes()

    for line in range(1, content.count(b"\n") + 1):
        paths.journal.write_bytes(content)
        damage(paths.journal, line)
        if salvage.examine(paths.journal).corrupt:
            repair(paths)
        wrong = [each.kind for each in audit.audit(paths, lambda _: None).discrepancies]
        assert "count" not in wrong, line
