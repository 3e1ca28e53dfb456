"""What a start does with files that somebody else got hold of; `test_resume` has the crashes."""

import errno
import os
import random
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from resumed import config, durable, parts, spool
from resumed.engine import Engine
from resumed.errors import StorageError
from resumed.model import Failed, Held, Identity, Pending, Removed
from resumed.recorder import Recorder
from resumed.upkeep import CLOSE_GROUP_SECONDS, COMPACT_AGAIN_SECONDS, Upkeep

ID, OTHER = "019a3c5d7e2-0000000001", "019a3c5d7e2-0000000002"
ERROR = {"kind": "builtins.ValueError", "text": "no"}


class Instance:
    """Folders, journal and what moves files after records; nobody claims, nobody runs."""

    def __init__(self, home):
        settings = config.load(None, home=home.path)
        parts.make_folders(settings.paths)
        self.home = home
        self.recorder = Recorder(settings.paths, time.time, random.Random(1).getrandbits)
        self.spool = spool.Spool(settings.paths)
        self.moves = parts.reconciler(settings, self.spool, self.recorder)
        self.told = []
        self.upkeep = Upkeep(
            self.recorder, self.moves, lambda event, **about: self.told.append((event, about))
        )

    def close(self):
        self.recorder.close()
        self.spool.close()

    def claim(self, place):
        """Let an item of ours have its file at *place*."""
        path = self.home.path / place
        path.parent.mkdir(exist_ok=True)
        path.write_text("text")
        seen = path.stat()
        identity = Identity(seen.st_ino, seen.st_size, seen.st_mtime_ns)
        self.recorder.record("claimed", id=ID, name="a.txt", owner=0, **identity._asdict())
        return self.recorder.ledger.items[ID]

    def keep(self, place):
        """Let a failed or held item have been put away at *place*."""
        entry = self.claim(place)
        if place.startswith("failed"):
            about = {"attempt": 1, "step": None, "error": ERROR, "output": ""}
            self.recorder.record("failed", id=ID, **about)
        else:
            self.recorder.record("held", id=ID, why="asked for")
        self.recorder.record("put_away", id=ID, **{"as": place.partition("/")[2]})
        return entry

    def gone(self):
        return ID not in self.recorder.ledger.items


@pytest.fixture
def instance(home):
    made = Instance(home)
    yield made
    made.close()


def refuse(*_):
    raise PermissionError(errno.EPERM, "Operation not permitted")


# fetching


@pytest.mark.parametrize(("shelf", "state"), [("failed", Failed), ("hold", Held)])
def test_a_file_that_cannot_be_fetched_leaves_its_item_what_it_was(
    instance, monkeypatch, shelf, state
):
    entry = instance.keep(f"{shelf}/a.txt")
    instance.recorder.record("retried" if shelf == "failed" else "released", id=ID)
    monkeypatch.setattr(durable, "move", refuse)

    assert not instance.moves.fetch(entry)

    assert isinstance(entry.state, state)
    assert entry.state.kept_as == "a.txt"
    why = entry.state.fault.text if shelf == "failed" else entry.state.reason
    assert why == f"its file cannot be moved out of {shelf}/"
    assert (instance.home.path / shelf / "a.txt").exists()


def test_a_file_that_is_already_at_work_is_left_there(instance):
    entry = instance.claim(f"active/{ID}/a.txt")

    assert instance.moves.fetch(entry)
    assert entry.state == Pending()


def test_a_file_on_its_way_back_under_the_name_it_was_kept_as_is_fetched_from_there(instance):
    """It failed while another a.txt was in failed/; a person moves it, and asks for a retry."""
    kept_as = f"a~{ID}.txt"
    entry = instance.keep(f"failed/{kept_as}")
    (instance.home.failed / kept_as).rename(instance.home.inbox / kept_as)
    instance.recorder.record("retried", id=ID, fresh=False)

    assert instance.moves.fetch(entry)

    assert entry.state == Pending()
    assert instance.home.names("inbox") == []
    assert (instance.home.active / ID / "a.txt").read_text() == "text"


# removing


@pytest.mark.parametrize("shelf", ["failed", "hold"])
def test_a_changed_file_is_not_removed_with_its_item(instance, shelf):
    """Whoever asked for the removal looked at another content."""
    entry = instance.keep(f"{shelf}/a.txt")
    instance.recorder.record("removed", id=ID)
    (instance.home.path / shelf / "a.txt").write_text("something else")

    instance.moves.settle(entry)

    assert entry.state == Removed(entry.state.at)
    assert instance.gone()
    assert (instance.home.path / shelf / "a.txt").read_text() == "something else"


def test_nothing_of_a_held_item_stays_when_it_is_removed(instance):
    entry = instance.claim(f"active/{ID}/a.txt")
    (instance.home.active / f"{ID}.work").mkdir()
    instance.recorder.record("held", id=ID, why="asked for")
    instance.moves.put_away([entry])
    assert (instance.home.active / f"{ID}.work").is_dir()
    instance.recorder.record("removed", id=ID)

    instance.moves.settle(entry)
    instance.spool.tidy()

    assert instance.gone()
    assert os.listdir(instance.home.active) == []


# sidecars


def test_a_sidecar_finds_no_name_and_nothing_is_overwritten(instance):
    names = [f"{name}.failure.txt" for name in ("a.txt", f"a~{ID}.txt")]
    for name in names:
        (instance.home.failed / name).write_text("somebody's own")
    entry = instance.claim(f"active/{ID}/a.txt")
    about = {"attempt": 1, "step": None, "error": ERROR, "output": ""}
    instance.recorder.record("failed", id=ID, **about)

    instance.moves.put_away([entry])

    assert entry.state.kept_as == "a.txt"
    assert [(instance.home.failed / name).read_text() for name in names] == ["somebody's own"] * 2


@pytest.mark.parametrize("long", [False, True])
def test_a_note_goes_with_its_own_file_only(instance, long):
    """It may have the name that the note of another item would have."""
    words = "why " * 2000 if long else "no"
    about = {"attempt": 1, "step": None, "output": ""}
    error = {"kind": "builtins.ValueError", "text": words}
    entry = instance.claim(f"active/{ID}/a.txt")
    instance.recorder.record("failed", id=ID, error=error, **about)
    instance.moves.put_away([entry])
    note = instance.home.failed / "a.txt.failure.txt"

    instance.moves.remove_sidecar("a.txt", OTHER)
    assert note.exists()

    instance.moves.remove_sidecar("a.txt", ID)
    assert not note.exists()


@pytest.mark.parametrize("how", ["missed", "retried"])
def test_the_note_of_a_file_that_a_person_deleted_goes_with_its_item(instance, how):
    entry = instance.claim(f"active/{ID}/a.txt")
    instance.recorder.record("failed", id=ID, attempt=1, step=None, error=ERROR, output="")
    instance.moves.put_away([entry])
    assert (instance.home.failed / "a.txt.failure.txt").exists()
    (instance.home.failed / "a.txt").unlink()

    if how == "missed":
        instance.upkeep.miss(())
        instance.upkeep.miss(())
    else:
        instance.recorder.record("retried", id=ID, fresh=False)
        assert not instance.moves.fetch(entry)

    assert instance.gone()
    assert os.listdir(instance.home.failed) == []


def test_a_start_that_finds_its_note_already_there_adds_no_other(instance):
    """A kill between the note and the record of the move left two notes beside one file."""
    entry = instance.claim(f"active/{ID}/a.txt")
    about = {"attempt": 1, "step": None, "error": ERROR, "output": ""}
    instance.recorder.record("failed", id=ID, **about)
    instance.moves.put_away([entry])
    instance.recorder.ledger.items[ID].state = replace(entry.state, kept_as=None)
    (instance.home.active / f"{ID}.work").mkdir()

    instance.moves.settle(entry)

    assert sorted(os.listdir(instance.home.failed)) == ["a.txt", "a.txt.failure.txt"]
    assert not (instance.home.active / f"{ID}.work").exists()


def test_a_removal_that_a_kill_cut_off_takes_the_note_along(instance):
    """A kill between the file and its note left the note for ever."""
    entry = instance.claim(f"active/{ID}/a.txt")
    about = {"attempt": 1, "step": None, "error": ERROR, "output": ""}
    instance.recorder.record("failed", id=ID, **about)
    instance.moves.put_away([entry])
    instance.recorder.record("removed", id=ID)
    (instance.home.failed / "a.txt").unlink()

    instance.moves.settle(entry)

    assert os.listdir(instance.home.failed) == []
    assert instance.gone()


def test_only_a_failed_item_has_a_sidecar(instance):
    with pytest.raises(TypeError, match="Pending"):
        instance.moves._render(instance.claim(f"active/{ID}/a.txt"), "a.txt")


# looking whether kept files are still there


@pytest.mark.parametrize("shelf", ["failed", "hold"])
def test_an_item_is_gone_when_its_file_was_missed_twice(instance, shelf):
    instance.keep(f"{shelf}/a.txt")
    (instance.home.path / shelf / "a.txt").unlink()

    instance.upkeep.miss(())
    assert not instance.gone()

    instance.upkeep.miss(())
    assert instance.gone()


def test_a_file_that_is_back_at_the_second_look_was_never_missed(instance):
    instance.keep("failed/a.txt")
    file = instance.home.failed / "a.txt"
    for _ in range(2):
        file.rename(instance.home.path / "elsewhere")
        instance.upkeep.miss(())
        (instance.home.path / "elsewhere").rename(file)
        instance.upkeep.miss(())

    assert not instance.gone()


def test_a_file_on_its_way_into_the_inbox_is_not_missed(instance):
    entry = instance.keep("failed/a.txt")
    (instance.home.failed / "a.txt").rename(instance.home.inbox / "a.txt")

    for _ in range(3):
        instance.upkeep.miss({entry.identity.inode})

    assert not instance.gone()


@pytest.mark.parametrize("place", ["elsewhere", "inbox/a.txt"])
def test_nothing_is_missed_before_the_inbox_was_looked_through(instance, place):
    settings = config.load(None, home=instance.home.path)
    clocks = parts.Clocks(time.time, time.monotonic, random.Random(1).getrandbits)
    intake = parts.intake(settings, instance.spool, clocks, lambda *_, **__: None)
    engine = SimpleNamespace(
        intake=intake, upkeep=instance.upkeep, paused=False, space=SimpleNamespace(on=False)
    )
    instance.keep("failed/a.txt")
    (instance.home.failed / "a.txt").rename(instance.home.path / place)

    for _ in range(4):  # nobody comes to read the inbox
        Engine.rescan(engine)
    assert not instance.gone()

    for _ in range(3):
        while intake.scanning:
            intake.turn(clocks.monotonic(), 0)
        Engine.rescan(engine)
    assert bool(instance.gone()) == (place == "elsewhere")


@pytest.fixture
def closed(monkeypatch):
    """Let no subfolder be opened, even by root."""
    real = os.open

    def refuse_folders(path, flags, *rest, **more):
        if path == "closed":
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path, flags, *rest, **more)

    return lambda: monkeypatch.setattr(os, "open", refuse_folders)


@pytest.mark.parametrize("shelf", ["failed", "hold"])
def test_a_file_in_a_folder_that_is_closed_to_us_is_not_missed(instance, closed, shelf):
    instance.keep(f"{shelf}/closed/a.txt")
    closed()

    for _ in range(3):
        instance.upkeep.miss(())

    assert not instance.gone()


def test_a_file_in_a_folder_that_is_closed_to_us_stays_where_it_was(instance, closed):
    entry = instance.keep("failed/closed/a.txt")
    instance.recorder.record("retried", id=ID)
    closed()

    assert not instance.moves.fetch(entry)

    assert entry.state.kept_as == "closed/a.txt"
    assert entry.state.fault.text == "its file cannot be moved out of failed/"


def test_whoever_cannot_look_does_not_start_rather_than_call_a_file_gone(instance, closed):
    entry = instance.claim("failed/closed/a.txt")
    entry.name = "closed/a.txt"
    about = {"attempt": 1, "step": None, "error": ERROR, "output": ""}
    instance.recorder.record("failed", id=ID, **about)
    closed()

    with pytest.raises(StorageError, match=r"failed/closed/a\.txt: Permission denied"):
        instance.moves.settle(entry)

    assert not instance.gone()


@pytest.mark.parametrize("what", ["nothing", "a file", "a symlink"])
def test_a_file_whose_folder_became_something_else_is_missed(instance, what):
    instance.keep("failed/sub/a.txt")
    (instance.home.failed / "sub").rename(instance.home.path / "moved")
    if what == "a file":
        (instance.home.failed / "sub").write_text("text")
    elif what == "a symlink":
        (instance.home.failed / "sub").symlink_to(instance.home.path / "moved")

    for _ in range(2):
        instance.upkeep.miss(())

    assert instance.gone()


def test_an_item_at_work_is_not_missed(instance):
    instance.claim("inbox/a.txt").kept_as = "a.txt"

    for _ in range(3):
        instance.upkeep.miss(())

    assert not instance.gone()


# the journal


def test_the_last_group_is_proved_synced_when_nothing_came_for_a_while(instance):
    instance.recorder.record("paused", by="test")
    instance.upkeep.turn(0.0, synced=instance.recorder.commit())
    instance.upkeep.turn(CLOSE_GROUP_SECONDS / 2, synced=False)
    assert not instance.recorder.closed

    instance.upkeep.turn(CLOSE_GROUP_SECONDS, synced=False)

    assert instance.recorder.closed
    assert instance.upkeep.due is None
    instance.upkeep.turn(9.0, synced=False)
    assert instance.upkeep.due is None


def test_a_journal_that_is_mostly_dead_is_rewritten_and_that_is_told(instance, monkeypatch):
    monkeypatch.setattr("resumed.compaction.WORTH_BYTES", 100)
    for _ in range(20):
        instance.recorder.record("paused", by="test")
    instance.recorder.commit()

    instance.upkeep.turn(0.0, synced=True)

    [(event, about)] = instance.told
    assert event == "compacted"
    assert about["before"] > about["after"] == instance.recorder.length_bytes


def test_a_journal_that_cannot_be_rewritten_is_told_once_and_tried_again(instance, monkeypatch):
    monkeypatch.setattr("resumed.compaction.WORTH_BYTES", 100)
    for _ in range(20):
        instance.recorder.record("paused", by="test")
    instance.recorder.commit()
    full = [0 if index in (3, 4) else value for index, value in enumerate(os.statvfs("/"))]
    with monkeypatch.context() as context:
        context.setattr(os, "statvfs", lambda _: os.statvfs_result(full))
        for turn in range(100):
            instance.upkeep.turn(turn * COMPACT_AGAIN_SECONDS / 50, synced=False)
    assert instance.told == [("not_compacted", {"why": "too little space"})]

    instance.upkeep.turn(3 * COMPACT_AGAIN_SECONDS, synced=False)

    assert [event for event, _ in instance.told] == ["not_compacted", "compacted"]
