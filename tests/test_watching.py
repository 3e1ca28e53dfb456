"""Look at journals that change under the reader's eyes, and follow them."""

import itertools
import json
import os
import pty
import signal
import subprocess
import sys

import pytest

from resumed import place, view, watching
from resumed.errors import JournalCorruptError
from resumed.recorder import Recorder
from resumed.view import RefusedError

AT = 1763812800.0
ID = "019a3c5d7e2-0000000001"


@pytest.fixture
def paths(home):
    made = place.find(home=home.path)
    made.history.mkdir()
    return made


@pytest.fixture
def recorder(paths):
    bits = itertools.count(1)
    made = Recorder(paths, lambda: AT, lambda _: next(bits))
    yield made
    made._journal.close()


def claim(recorder, item_id=ID, name="a.txt"):
    recorder.record("claimed", id=item_id, name=name, inode=1, size=3, mtime_ns=1, owner=0)
    recorder.commit()


# one look


def test_a_line_that_is_being_written_is_not_there_yet(recorder, paths):
    claim(recorder)
    with paths.journal.open("ab") as file:
        file.write(b'{"n":3,')

    assert list(view.look(paths).ledger.items) == [ID]


def test_a_journal_that_is_replaced_while_it_is_read_is_read_again(recorder, paths, monkeypatch):
    claim(recorder)
    tally, turns = view.tally, []

    def slow(*arguments):
        found = tally(*arguments)
        if not turns:
            recorder.record("started", id=ID, attempt=1)
            recorder.commit()
            recorder.compact()
        turns.append(1)
        return found

    monkeypatch.setattr(view, "tally", slow)

    assert view.look(paths).ledger.items[ID].attempts == 1
    assert len(turns) == 2


def test_what_is_cut_off_again_was_never_there(recorder, paths, monkeypatch):
    claim(recorder)
    whole = paths.journal.stat().st_size
    recorder.record("started", id=ID, attempt=1)
    recorder.commit()
    tally, turns = view.tally, []

    def slow(*arguments):
        found = tally(*arguments)
        if not turns:
            os.truncate(paths.journal, whole)
        turns.append(1)
        return found

    monkeypatch.setattr(view, "tally", slow)

    assert view.look(paths).ledger.items[ID].attempts == 0


def test_damage_that_a_growing_file_explains_is_looked_at_again(recorder, paths, monkeypatch):
    claim(recorder)
    tally, turns = view.tally, []

    def slow(*arguments):
        turns.append(1)
        if len(turns) == 1:
            recorder.record("started", id=ID, attempt=1)
            recorder.commit()
            raise JournalCorruptError(paths.journal, 3, "half a line")
        return tally(*arguments)

    monkeypatch.setattr(view, "tally", slow)

    assert view.look(paths).ledger.items[ID].attempts == 1


def test_a_journal_that_never_rests_is_told_of(recorder, paths, monkeypatch):
    claim(recorder)
    monkeypatch.setattr(view, "_PAUSE_SECONDS", 0)
    monkeypatch.setattr(view, "_look_once", lambda *_: None)

    with pytest.raises(RefusedError, match="try again"):
        view.look(paths)


# a watch


def test_a_watch_follows_from_record_to_record_and_into_a_new_file(recorder, paths):
    watch = watching.Watch(paths)
    clock = itertools.count()

    def running():
        return watch.turn(next(clock)).document()["counts"]["running"]

    assert running() == 0
    claim(recorder)
    recorder.record("started", id=ID, attempt=1)
    recorder.commit()
    assert running() == 1
    recorder.compact()
    assert running() == 1
    recorder.record("interrupted", id=ID, attempt=1)
    recorder.commit()
    assert running() == 0
    watch.close()


def test_a_watch_begins_before_there_is_a_journal(paths):
    watch = watching.Watch(paths)

    assert "'resumed run' begins" in "\n".join(watch.turn(0.0).lines("resumed-ctl"))
    watch.close()


@pytest.mark.parametrize("fault", ["damaged", "contradicts"])
def test_a_watch_refuses_what_a_look_refuses(recorder, paths, fault):
    claim(recorder)
    if fault == "damaged":
        with paths.journal.open("ab") as file:
            file.write(b"nonsense\n")
    else:
        recorder._journal.append("started", AT, {"id": "nobody", "attempt": 1})
        recorder._journal.sync()
    watch = watching.Watch(paths)

    with pytest.raises(JournalCorruptError, match=fault):
        watch.turn(0.0)
    watch.close()


def program(home, *arguments):
    return [sys.executable, "-m", "resumed.ctl", "--home", str(home.path), *arguments]


def test_watched_documents_come_when_something_changes(home, recorder):
    claim(recorder)
    line = program(home, "status", "--watch", "--json")
    with subprocess.Popen(line, stdout=subprocess.PIPE) as process:
        first = json.loads(process.stdout.readline())
        recorder.record("started", id=ID, attempt=1)
        recorder.commit()
        second = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130

    assert [each["counts"]["running"] for each in (first, second)] == [0, 1]


def test_a_watched_picture_is_drawn_in_place(home, recorder):
    claim(recorder, name="shown.txt")
    recorder.record("started", id=ID, attempt=1)
    recorder.commit()
    ours, theirs = pty.openpty()
    environ = os.environ | {"TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
    line = program(home, "status", "--watch")
    drawn = b""
    with subprocess.Popen(line, stdout=theirs, stderr=theirs, env=environ) as process:
        os.close(theirs)
        while b"shown.txt" not in drawn:
            drawn += os.read(ours, 65536)
        process.send_signal(signal.SIGINT)
        while True:
            try:
                os.read(ours, 65536)
            except OSError:
                break
        assert process.wait(20) == 130
    os.close(ours)
    assert b"\x1b[?1049h" in drawn


def test_a_watch_needs_a_terminal(ctl, recorder):
    claim(recorder)

    assert "needs a terminal" in ctl("status", "--watch", status=2).stderr
