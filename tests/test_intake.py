"""What becomes of the names in an inbox, until they are claimed or forgotten."""

import errno
import os

import pytest

from resumed import parts, sidecar, stranger
from resumed.arrival import Ready
from resumed.config import load
from resumed.gate import Gate
from resumed.intake import LEFT_ALONE_KEPT, UNREADABLE_SECONDS, Intake, NotReady, Refused
from resumed.rules import Rules
from resumed.spool import Spool
from resumed.stranger import Folder

MANY = 1000


class Inbox:
    """An inbox, what follows it, and a clock that stands still until told otherwise."""

    def __init__(self, path, **settings):
        self.path = path
        self.now = 1000.0
        self.told = []
        self.folder = Folder(path)
        self.intake = Intake(
            self.gate(), recursive=False, tell=lambda *said: self.told.append(said), **settings
        )

    def gate(self, match=("*",)):
        return Gate(
            self.folder,
            Rules(match),
            settle_seconds=0,
            clock=lambda: self.now,
            is_sidecar=sidecar.is_sidecar,
        )

    def put(self, *names):
        for name in names:
            (self.path / name).write_text("text")

    def turn(self, room=MANY):
        """Let the intake look once, and close what it opened."""
        found = self.intake.turn(self.now, room)
        for each in found:
            if isinstance(each, Ready) and each.fd is not None:
                os.close(each.fd)
        return found

    def scan(self):
        """Take what a whole scan finds; a claimed file leaves the inbox."""
        found = []
        self.intake.scan()
        while self.intake.scanning:
            found += (batch := self.turn())
            for each in batch:
                (self.path / each.name).unlink()
        return [each.name for each in found]


@pytest.fixture
def open_inbox(tmp_path):
    inboxes = []

    def make(**settings):
        inboxes.append(Inbox(tmp_path, **settings))
        return inboxes[-1]

    yield make
    for each in inboxes:
        each.folder.close()


@pytest.fixture
def inbox(open_inbox):
    return open_inbox()


def test_without_a_hint_or_a_scan_nothing_is_looked_at(inbox):
    inbox.put("a")

    assert inbox.turn() == []
    assert inbox.intake.next_due(inbox.now) is None


def test_a_scan_finds_all_there_is(inbox):
    inbox.put("a", "b", "c")

    assert sorted(inbox.scan()) == ["a", "b", "c"]
    assert inbox.intake.scans_done == 1


def test_no_more_is_taken_than_there_is_room_for(inbox):
    inbox.put("a", "b", "c")
    inbox.intake.hint(["a", "b", "c"], (), inbox.now)

    assert len(inbox.turn(room=2)) == 2
    assert len(inbox.turn(room=2)) == 1


def test_more_than_is_kept_in_memory_is_found_in_the_end(open_inbox):
    inbox = open_inbox(capacity=4)
    names = [f"{number:02}" for number in range(20)]
    inbox.put(*names)
    for name in names:
        inbox.intake.hint([name], (), inbox.now)
    assert inbox.intake.known == 4
    assert inbox.intake.scanning

    found = []
    while inbox.intake.known or inbox.intake.scanning:
        for each in inbox.turn():
            (inbox.path / each.name).unlink()
            found.append(each.name)

    assert sorted(found) == names


def test_a_hint_of_a_name_that_is_known_makes_it_due_now(inbox):
    inbox.put("a")
    with (inbox.path / "a").open("a"):
        inbox.intake.hint(["a"], (), inbox.now)
        assert inbox.turn() == []
        assert inbox.intake.not_ready() == [NotReady("a", "open for writing", 1)]
        assert inbox.intake.next_due(inbox.now) > inbox.now

    inbox.intake.hint(["a"], (), inbox.now)

    assert inbox.intake.next_due(inbox.now) == inbox.now
    assert [each.name for each in inbox.turn()] == ["a"]
    assert inbox.intake.next_due(inbox.now) is None


def test_a_file_that_vanished_or_is_ignored_is_forgotten(inbox):
    inbox.put("a", "b.tmp")
    inbox.intake.hint(["a", "b.tmp"], (), inbox.now)
    (inbox.path / "a").unlink()

    assert inbox.turn() == []

    assert inbox.intake.known == 0
    assert inbox.told == []


def test_a_note_of_ours_is_discarded_and_that_of_somebody_else_is_an_item(inbox):
    (inbox.path / "a.failure.txt").write_text(f"{sidecar.FIRST_LINE}\n")
    inbox.put("b.failure.txt")

    assert inbox.scan() == ["b.failure.txt"]
    assert os.listdir(inbox.path) == []


def test_what_is_no_file_is_left_alone_and_told_once(inbox):
    (inbox.path / "folder").mkdir()
    os.mkfifo(inbox.path / "fifo")

    inbox.intake.hint(["fifo"], (), inbox.now)
    inbox.turn()
    for _ in range(2):
        assert inbox.scan() == []

    assert sorted(inbox.told) == [
        ("left_alone", "fifo", "fifo"),
        ("left_alone", "folder", "folder"),
    ]
    assert inbox.intake.known == 0


def test_a_name_that_became_something_else_is_told_again(inbox):
    (inbox.path / "a").mkdir()
    inbox.scan()
    (inbox.path / "a").rmdir()
    os.mkfifo(inbox.path / "a")

    inbox.scan()

    assert [kind for _, _, kind in inbox.told] == ["folder", "fifo"]


def test_what_was_told_of_strangers_takes_a_bounded_memory(inbox):
    names = [f"{number:04}" for number in range(LEFT_ALONE_KEPT + 1)]
    for name in names:
        (inbox.path / name).mkdir()

    inbox.scan()

    assert len(inbox.told) == LEFT_ALONE_KEPT + 1
    assert len(inbox.intake._left_alone) <= LEFT_ALONE_KEPT


def test_the_inodes_of_what_is_followed_are_known(inbox):
    inbox.put("a", "b")
    with (inbox.path / "a").open("a"):
        inbox.intake.scan()
        inbox.intake.turn(inbox.now, 0)

        seen = {(inbox.path / name).stat().st_ino for name in "ab"}
        assert inbox.intake.inodes() == seen
        for each in inbox.turn():
            assert each.name == "b"


def test_so_are_those_that_were_heard_of_and_not_looked_at(inbox):
    inbox.put("a")

    inbox.intake.hint(["a", "nothing"], (), inbox.now)

    assert inbox.intake.inodes() == {(inbox.path / "a").stat().st_ino}


# unreadable


def refuse_to_open(*_):
    """Keep everybody out, even root."""
    raise PermissionError(errno.EACCES, "Permission denied")


@pytest.fixture
def closed(monkeypatch):
    monkeypatch.setattr(stranger, "open_file", refuse_to_open)


@pytest.mark.usefixtures("closed")
def test_an_unreadable_file_is_told_once_and_taken_as_a_failure_after_a_minute(inbox):
    inbox.put("a")
    inbox.intake.hint(["a"], (), inbox.now)
    began = inbox.now
    found = []
    while not found and inbox.now < began + 10 * UNREADABLE_SECONDS:
        found = inbox.turn()
        inbox.now = max(inbox.now, inbox.intake.next_due(inbox.now) or inbox.now)

    [refused] = found
    assert isinstance(refused, Refused)
    assert (refused.ready.name, refused.ready.fd) == ("a", None)
    assert refused.fault == "Permission denied"
    assert inbox.now - began == UNREADABLE_SECONDS
    assert inbox.told == [("unreadable", "a", "Permission denied")]
    assert inbox.intake.known == 0


def test_a_file_that_becomes_readable_in_time_is_taken(inbox, monkeypatch):
    inbox.put("a")
    inbox.intake.hint(["a"], (), inbox.now)
    with monkeypatch.context() as context:
        context.setattr(stranger, "open_file", refuse_to_open)
        assert inbox.turn() == []
    assert [each.why for each in inbox.intake.not_ready()] == ["Permission denied"]

    inbox.now = inbox.intake.next_due(inbox.now)

    assert [each.name for each in inbox.turn()] == ["a"]


# other rules, another folder


def test_other_rules_are_applied_to_all_that_is_there(inbox):
    inbox.put("a.jpg", "b.txt")
    inbox.intake.use(inbox.gate(match=("*.txt",)), recursive=False)

    assert inbox.scan() == ["b.txt"]


def test_a_scan_that_was_begun_before_is_not_gone_on_with(open_inbox):
    inbox = open_inbox(capacity=2)
    inbox.put("a", "b", "c", "d")
    inbox.intake.scan()
    inbox.intake.turn(inbox.now, 0)

    inbox.intake.forget()

    assert inbox.intake.known == 0
    assert sorted(inbox.scan()) == ["a", "b", "c", "d"]


# as it is put together


def test_the_log_says_what_was_left_alone_and_what_is_unreadable(home, monkeypatch):
    settings = load(None, home=home.path)
    spool = Spool(settings.paths)
    events = []
    clocks = parts.Clocks(lambda: 0.0, lambda: 0.0, lambda _: 1)
    intake = parts.intake(
        settings, spool, clocks, lambda event, **about: events.append((event, about))
    )
    (home.inbox / "folder").mkdir()
    (home.inbox / "shut").write_text("text")
    monkeypatch.setattr(stranger, "open_file", refuse_to_open)

    intake.scan()
    for now in (0.0, 1.0, 2.0):
        intake.turn(now, 10)
    spool.close()

    assert events == [
        ("left_alone", {"name": "folder", "kind": "folder"}),
        ("unreadable", {"name": "shut", "why": "Permission denied"}),
    ]
