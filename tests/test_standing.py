"""What `why` says of a file when things change while it looks; `test_why` has the others."""

import errno
import time

import pytest

from resumed import config, glance, parts, sidecar, stranger, writers
from resumed.gate import Gate
from resumed.recorder import Recorder
from resumed.standing import Arrivals


@pytest.fixture
def arrivals(home):
    settings = config.load(None, home=home.path)
    parts.make_folders(settings.paths)
    Recorder(settings.paths, time.time, lambda _: 1).close()
    return Arrivals(settings, glance.look(settings.paths), lambda _: None)


@pytest.fixture
def file(home):
    path = home.inbox / "a"
    path.write_text("text")
    return path


def test_a_name_that_is_not_there_is_gone(arrivals):
    answer = arrivals.ask("a")

    assert (answer.verdict, answer.sentence) == ("gone", "was taken away just now")


def test_a_file_that_vanishes_under_the_eyes_is_gone(arrivals, file, monkeypatch):
    examine = Gate.examine

    def vanish(gate, name, sighting):
        verdict = examine(gate, name, sighting)
        file.unlink()
        return verdict

    monkeypatch.setattr(Gate, "examine", vanish)

    assert arrivals.ask("a").verdict == "gone"


def test_a_note_of_ours_is_no_item(arrivals, home):
    (home.inbox / "a.failure.txt").write_text(f"{sidecar.FIRST_LINE}\n")

    answer = arrivals.ask("a.failure.txt")

    assert (answer.verdict, answer.do) == ("ignored", "")
    assert (home.inbox / "a.failure.txt").exists()


def test_a_file_that_may_not_be_opened_says_who_must_be_able_to(arrivals, file, monkeypatch):
    def refuse(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(stranger, "open_file", refuse)

    answer = arrivals.ask(file.name)

    assert (answer.verdict, answer.sentence) == ("unreadable", "unreadable: Permission denied")
    assert answer.do == "let the daemon's user read it"


@pytest.mark.parametrize("lease", [None, False])
def test_a_writer_of_whom_the_lease_says_nothing_is_found_all_the_same(
    arrivals, file, monkeypatch, lease
):
    monkeypatch.setattr(stranger, "has_writer", lambda _: lease)
    monkeypatch.setattr(writers, "of_file", lambda _: [writers.Writer(4711, "cp")])

    answer = arrivals.ask(file.name)

    assert answer.sentence == "still open for writing by process 4711 (cp)"
