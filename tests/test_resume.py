"""Lay out what a crash leaves, folders and journal, and start on it: nothing lost or doubled."""

import json
import os
import random
import time

import pytest

from resumed import config, mark
from resumed.arrival import Ready, identity_of
from resumed.engine import Engine
from resumed.folders import Claimed
from resumed.model import Failed, Held, Pending, Waiting
from resumed.parts import Clocks, make_folders
from resumed.recorder import Recorder
from resumed.settings import Paths
from resumed.spool import Spool

ID, OTHER = "019a3c5d7e2-0000000001", "019a3c5d7e2-0000000002"
ERROR = {"kind": "builtins.ValueError", "text": "no"}
FOLDERS = ("inbox", "active", "hold", "done", "failed")
CLOCKS = Clocks(time.time, time.monotonic, random.Random(1).getrandbits)


class Wreck:
    """A home in which nobody works any more."""

    def __init__(self, home):
        self.home = home
        self.paths = Paths.below(home.path, home.state)
        make_folders(self.paths)
        self.facts = []

    def lay(self, place, content="text"):
        path = self.home.path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        return path

    def claimed(self, path, name="a.txt", item_id=ID):
        seen = path.stat()
        about = {"inode": seen.st_ino, "size": seen.st_size, "mtime_ns": seen.st_mtime_ns}
        self.record("claimed", id=item_id, name=name, owner=seen.st_uid, **about)

    def record(self, kind, **particulars):
        self.facts.append((kind, {"id": ID} | particulars))

    def started(self, attempt=1):
        self.record("started", attempt=attempt)

    def failed(self, attempt=1):
        self.record("failed", attempt=attempt, step=None, error=ERROR, output="")

    def done(self):
        self.record("done", attempt=1, result=None, seconds=0)

    def write(self):
        recorder = Recorder(self.paths, time.time, CLOCKS.bits)
        for kind, particulars in self.facts:
            recorder.record(kind, **particulars)
        recorder.close()

    def forget_put_away(self):
        """Cut the journal as a crash does, before the record that a file was put away."""
        lines = self.paths.journal.read_bytes().splitlines(keepends=True)
        crash = next(number for number, line in enumerate(lines) if b'"put_away"' in line)
        self.paths.journal.write_bytes(b"".join(lines[:crash]))

    def tree(self):
        """List every file below the folders, with its content; of a sidecar its first line."""
        return {
            str(path.relative_to(self.home.path)): path.read_text().splitlines()[0]
            for folder in FOLDERS
            for path in (self.home.path / folder).rglob("*")
            if path.is_file()
        }


@pytest.fixture
def wreck(home):
    return Wreck(home)


@pytest.fixture
def restart(wreck):
    """Start on the wreck, as far as nobody works yet; do so again, as if that had crashed."""

    def start():
        if not wreck.paths.journal.exists():
            wreck.write()
        engine = Engine(config.load(None, home=wreck.home.path), lambda *_, **__: None, CLOCKS)
        engine.resume()
        states = {each.id: each.state for each in engine.recorder.ledger.items.values()}
        counts = dict(engine.recorder.ledger.counts)
        engine.close()
        return states, counts, wreck.tree()

    def start_twice():
        first = start()
        assert start() == first
        return first

    return start_twice


SIDECAR = "resumed: why this file is in failed/"


# claims


def test_a_claim_that_was_not_recorded_is_adopted_under_a_new_id(wreck, restart):
    wreck.lay(f"active/{ID}/a.txt")

    states, _, tree = restart()

    [(item_id, state)] = states.items()
    assert state == Pending()
    assert item_id != ID
    assert tree == {f"active/{item_id}/a.txt": "text"}


def test_a_claim_that_was_not_recorded_is_adopted_with_its_marker(wreck, restart):
    wreck.home.configure('handler = "handler:process"\nmarker = "{name}.ok"\n')
    wreck.lay(f"active/{ID}/a.txt")
    wreck.lay(f"active/{ID}/a.txt.ok", "ok")

    states, _, tree = restart()

    [item_id] = states
    assert tree == {f"active/{item_id}/a.txt": "text", f"active/{item_id}/a.txt.ok": "ok"}


def claim_without_a_record(wreck, name):
    """Let the claim itself be made, and the daemon die before it is recorded."""
    path = wreck.lay(f"inbox/{name}")
    spool = Spool(wreck.paths)
    fd = os.open(path, os.O_RDONLY)
    [claimed] = spool.claim([Ready(name, identity_of(os.fstat(fd)), fd)], [ID])
    spool.close()
    assert isinstance(claimed, Claimed)


def test_a_claim_from_a_subfolder_that_was_not_recorded_keeps_its_subfolder(wreck, restart):
    claim_without_a_record(wreck, "holidays/2026/a.txt")

    states, _, tree = restart()

    [item_id] = states
    assert wreck.home.records("claimed")[0]["name"] == "holidays/2026/a.txt"
    assert tree == {f"active/{item_id}/a.txt": "text"}
    assert sorted(os.listdir(wreck.home.active)) == [item_id]


@pytest.mark.parametrize("note", ["1:holidays", "holidays", "no number:holidays"])
def test_a_note_of_a_subfolder_is_believed_of_its_own_file_only(wreck, restart, note):
    """No file has the inode 1, and nobody but us writes notes; still, nothing is lost."""
    wreck.lay(f"active/{ID}/a.txt")
    (wreck.home.active / f"{ID}.from").symlink_to(note)

    states, _, tree = restart()

    assert tree == {f"active/{item_id}/a.txt": "text" for item_id in states}
    assert wreck.home.records("claimed")[0]["name"] == "a.txt"
    assert sorted(os.listdir(wreck.home.active)) == list(states)


def test_a_claim_that_a_power_cut_undid_is_the_same_item(wreck, restart):
    wreck.claimed(wreck.lay("inbox/a.txt"))

    states, _, tree = restart()

    assert states == {ID: Pending()}
    assert tree == {f"active/{ID}/a.txt": "text"}


def test_another_file_in_the_place_of_the_claimed_one_is_not_taken_for_it(wreck, restart):
    wreck.claimed(wreck.lay("inbox/a.txt"))
    wreck.lay("inbox/b.txt", "another").rename(wreck.home.inbox / "a.txt")

    states, counts, tree = restart()

    assert states == {}
    assert counts == {"gone": 1}
    assert tree == {"inbox/a.txt": "another"}


def test_what_is_no_file_in_active_is_left_alone(wreck, restart):
    (wreck.home.active / ID / "folder").mkdir(parents=True)

    states, _, _ = restart()

    assert states == {}
    assert (wreck.home.active / ID / "folder").is_dir()


def test_a_file_in_a_spare_folder_is_not_taken_for_the_failed_item_of_that_id(wreck, restart):
    """A spare folder bears the id of the item that was in it before."""
    wreck.claimed(wreck.lay("failed/a.txt", "failed"))
    wreck.failed()
    wreck.record("put_away", **{"as": "a.txt"})
    wreck.lay(f"active/{ID}/a.txt", "new")

    states, _, tree = restart()

    new = next(item_id for item_id in states if item_id != ID)
    assert isinstance(states[ID], Failed)
    assert states[new] == Pending()
    assert tree == {"failed/a.txt": "failed", f"active/{new}/a.txt": "new"}


def test_what_an_item_at_work_left_in_its_folder_is_no_item(wreck, restart):
    wreck.claimed(wreck.lay("inbox/a.txt"))
    wreck.lay(f"active/{ID}/thumbnail", "written by its handler")

    states, _, tree = restart()

    assert states == {ID: Pending()}
    assert tree == {
        f"active/{ID}/a.txt": "text",
        f"active/{ID}/thumbnail": "written by its handler",
    }


# attempts


def test_an_attempt_that_the_crash_ended_counts_as_crashed(wreck, restart):
    wreck.claimed(wreck.lay(f"active/{ID}/a.txt"))
    wreck.started()

    states, _, _ = restart()

    assert states == {ID: Pending()}
    assert wreck.home.records("claimed")[0]["crashes"] == 1


def test_an_item_that_crashed_too_often_is_set_aside(wreck, restart):
    wreck.claimed(wreck.lay(f"active/{ID}/a.txt"))
    for attempt in (1, 2):
        wreck.started(attempt)
        wreck.record("crashed", attempt=attempt)
    wreck.started(3)

    states, counts, tree = restart()

    assert states[ID].fault.kind == "crashed"
    assert counts == {"failed": 1}
    assert tree == {"failed/a.txt": "text", "failed/a.txt.failure.txt": SIDECAR}


def test_a_suspect_that_was_sent_and_not_begun_is_not_charged_at_the_next_start(wreck, put_off):
    wreck.claimed(wreck.lay(f"active/{ID}/a.txt"))
    wreck.started()
    wreck.write()
    engine = Engine(config.load(None, home=wreck.home.path), lambda *_, **__: None, CLOCKS)
    engine.resume()

    put_off(engine, wreck.paths.active / ID, lambda: engine.schedule.waiting)

    engine = Engine(config.load(None, home=wreck.home.path), lambda *_, **__: None, CLOCKS)
    engine.resume()
    entry = engine.recorder.ledger.items[ID]
    engine.close()

    assert (entry.crashes, entry.attempts) == (1, 2)


def leave_mark(wreck, item_id, attempt):
    """Write what a worker does before it begins, of a process that is long dead."""
    marks = wreck.home.state / "marks"
    marks.mkdir(exist_ok=True)
    facts = {"turn": 1, "id": item_id, "attempt": attempt, "pid": 2**22 + 1, "born": 0}
    (marks / "0").write_text(json.dumps(facts | {"step": None}) + "\n")
    assert mark.read(marks / "0")


def test_an_attempt_of_which_the_daemon_never_heard_counts_as_crashed(wreck, restart):
    wreck.claimed(wreck.lay(f"active/{ID}/a.txt"))
    leave_mark(wreck, ID, 1)

    states, _, _ = restart()

    assert states == {ID: Pending()}
    [claimed] = wreck.home.records("claimed")
    assert (claimed["attempts"], claimed["crashes"]) == (1, 1)


@pytest.mark.parametrize("how", ["an older attempt", "an item that is over"])
def test_a_mark_of_what_is_recorded_is_moot(wreck, restart, how):
    if how == "an older attempt":
        wreck.claimed(wreck.lay(f"active/{ID}/a.txt"))
        wreck.started()
        wreck.record("waiting", attempt=1, step=None, error=ERROR, delay=3600)
    else:
        wreck.claimed(wreck.lay("failed/a.txt"))
        wreck.failed(attempt=0)
        wreck.record("put_away", **{"as": "a.txt"})
    leave_mark(wreck, ID, 1)

    states, _, _ = restart()

    assert isinstance(states[ID], Waiting | Failed)
    assert wreck.home.records("claimed")[0]["crashes"] == 0


def test_a_mark_of_an_unknown_item_charges_nobody(wreck, restart):
    wreck.claimed(wreck.lay(f"active/{ID}/a.txt"))
    leave_mark(wreck, OTHER, 1)

    states, _, _ = restart()

    assert states == {ID: Pending()}
    assert wreck.home.records("claimed")[0]["attempts"] == 0


# outcomes


def test_a_done_file_that_was_not_moved_is_moved_and_not_run(wreck, restart):
    wreck.claimed(wreck.lay(f"active/{ID}/a.txt"))
    wreck.started()
    wreck.done()

    states, counts, tree = restart()

    assert states == {}
    assert counts == {"done": 1}
    assert tree == {"done/a.txt": "text"}


@pytest.mark.parametrize("used", ["a.txt", f"a~{ID}.txt"])
def test_a_done_file_that_was_moved_is_known_to_be(wreck, restart, used):
    wreck.claimed(wreck.lay(f"done/{used}"))
    wreck.done()

    states, _, tree = restart()

    assert states == {}
    assert tree == {f"done/{used}": "text"}


def test_a_done_file_that_was_not_deleted_is_deleted(wreck, restart):
    wreck.home.configure('handler = "handler:process"\non_done = "delete"\n')
    wreck.claimed(wreck.lay(f"active/{ID}/a.txt"))
    wreck.done()

    states, _, tree = restart()

    assert states == tree == {}


def test_a_done_file_that_was_deleted_is_known_to_be(wreck, restart):
    wreck.home.configure('handler = "handler:process"\non_done = "delete"\n')
    wreck.claimed(gone := wreck.lay(f"active/{ID}/a.txt"))
    gone.unlink()
    wreck.done()

    assert restart() == ({}, {"done": 1}, {})


@pytest.mark.parametrize("place", [f"active/{ID}/a.txt", "failed/a.txt"])
def test_a_failed_file_gets_to_failed_and_its_sidecar_beside_it(wreck, restart, place):
    wreck.claimed(wreck.lay(place))
    wreck.failed()

    states, counts, tree = restart()

    assert states[ID].kept_as == "a.txt"
    assert counts == {"failed": 1}
    assert tree == {"failed/a.txt": "text", "failed/a.txt.failure.txt": SIDECAR}


def test_a_sidecar_that_was_there_before_the_crash_gets_no_second_name(wreck, restart):
    wreck.claimed(wreck.lay("failed/a.txt"))
    wreck.lay("failed/a.txt.failure.txt", "somebody's own")
    wreck.failed()

    _, _, tree = restart()

    assert tree == {
        "failed/a.txt": "text",
        "failed/a.txt.failure.txt": "somebody's own",
        f"failed/a~{ID}.txt.failure.txt": SIDECAR,
    }


def test_a_failed_item_whose_file_was_taken_away_before_its_move_is_gone(wreck, restart):
    wreck.claimed(taken := wreck.lay(f"active/{ID}/a.txt"))
    taken.unlink()
    wreck.failed()

    assert restart() == ({}, {"failed": 1, "gone": 1}, {})


@pytest.mark.parametrize("how", ["put in its place", "written into it"])
def test_a_file_that_was_changed_again_is_found_where_a_crash_left_it(wreck, home, drain, ctl, how):
    written = 'item.path.with_name("b")' if how == "put in its place" else "item.path"
    home.configure(
        'handler = "handler:process"\nsettle = 0\n',
        handler=f"""
def process(item):
    {written}.write_text("changed" * item.attempt)
    {written}.rename(item.path)
""",
    )
    wreck.lay("inbox/a.txt")
    assert drain().returncode == 1
    ctl("audit")
    wreck.forget_put_away()

    assert drain().returncode == 0

    ctl("audit")
    assert home.records("gone") == []
    assert (home.failed / "a.txt").read_text() == "changedchanged"


def test_a_file_that_a_crashing_handler_changed_is_found_where_a_crash_left_it(wreck, restart):
    wreck.claimed(changed := wreck.lay(f"active/{ID}/a.txt"))
    changed.write_text("another text")
    for attempt in (1, 2):
        wreck.started(attempt)
        wreck.record("crashed", attempt=attempt)
    wreck.started(3)
    wreck.write()
    engine = Engine(config.load(None, home=wreck.home.path), lambda *_, **__: None, CLOCKS)
    engine.resume()
    wreck.forget_put_away()
    engine.abandon()

    states, counts, _ = restart()

    assert [each.kept_as for each in states.values()] == ["a.txt"]
    assert "gone" not in counts


def test_half_made_sidecars_are_swept_and_nothing_else(wreck, restart):
    half, other = f".resumed-{1:016x}", f".resumed-{2:016x}"
    for folder in ("failed", "failed/sub", "failed/sub/below"):
        wreck.lay(f"{folder}/{half}", SIDECAR[:9])
        wreck.lay(f"{folder}/{other}", "an item that is called so")
        wreck.lay(f"{folder}/.resumed-notes", SIDECAR)
    os.mkfifo(wreck.home.failed / f".resumed-{3:016x}")
    (wreck.home.failed / "link").symlink_to(wreck.home.failed / "sub")

    _, _, tree = restart()

    assert {place.rpartition("/")[2] for place in tree} == {other, ".resumed-notes"}
    assert len(tree) == 6
    assert (wreck.home.failed / f".resumed-{3:016x}").exists()


# what a person asked for


@pytest.mark.parametrize("shelf", ["failed", "hold"])
def test_an_item_that_is_to_run_again_is_fetched_from_where_it_was_kept(wreck, restart, shelf):
    wreck.claimed(wreck.lay(f"{shelf}/a~1.txt"))
    if shelf == "failed":
        wreck.failed()
        wreck.lay("failed/a~1.txt.failure.txt", SIDECAR)
    else:
        wreck.record("held", why="asked for")
    wreck.record("put_away", **{"as": "a~1.txt"})
    wreck.record("retried" if shelf == "failed" else "released", fresh=False)

    states, _, tree = restart()

    assert states == {ID: Pending()}
    assert tree == {f"active/{ID}/a.txt": "text"}


def test_a_note_of_somebody_beside_a_failed_file_stays_when_that_leaves(wreck, restart):
    wreck.claimed(wreck.lay("failed/a.txt"))
    wreck.lay("failed/a.txt.failure.txt", "somebody's own")
    wreck.failed()
    wreck.record("put_away", **{"as": "a.txt"})
    wreck.record("retried", fresh=False)

    _, _, tree = restart()

    assert tree == {f"active/{ID}/a.txt": "text", "failed/a.txt.failure.txt": "somebody's own"}


def test_a_failed_file_that_came_back_and_was_claimed_is_retried(wreck, restart):
    """The crash fell between the claim under the item's own id and the record of that."""
    wreck.claimed(wreck.lay(f"active/{ID}/a.txt"))
    wreck.failed()
    wreck.record("put_away", **{"as": "a.txt"})

    states, counts, tree = restart()

    assert states == {ID: Pending()}
    assert counts == {"failed": 1}
    assert tree == {f"active/{ID}/a.txt": "text"}


@pytest.mark.parametrize("name", ["b.txt", f"a~{ID}.txt"])
def test_one_that_came_back_under_another_name_is_the_same_item(wreck, restart, name):
    """Its claim was to give it its own name again, which the crash prevented."""
    wreck.claimed(wreck.lay(f"active/{ID}/{name}"))
    wreck.record("stepped", step="pay", result=1)
    wreck.failed()
    wreck.record("put_away", **{"as": name})

    states, counts, tree = restart()

    assert states == {ID: Pending()}
    assert counts == {"failed": 1}
    assert tree == {f"active/{ID}/a.txt": "text"}


@pytest.mark.parametrize("place", [f"active/{ID}/a.txt", "hold/a.txt", f"hold/a~{ID}.txt"])
def test_an_item_that_is_held_again_is_found_where_it_was_put(wreck, restart, place):
    """It may have another name there than it had in failed/ or in hold/ before."""
    was_kept_as = f"a~{ID}-2.txt"
    wreck.claimed(wreck.lay(place))
    wreck.record("held", why="asked for")
    wreck.record("put_away", **{"as": was_kept_as})
    wreck.record("released")
    wreck.record("held", why="asked for")

    states, _, tree = restart()

    last = place.rpartition("/")[2]
    assert isinstance(states[ID], Held)
    assert states[ID].kept_as == last
    assert tree == {f"hold/{last}": "text"}


@pytest.mark.parametrize("place", [f"active/{ID}/a.txt", "failed/a.txt", f"failed/a~{ID}.txt"])
def test_a_job_that_fails_again_is_found_where_it_was_put(wreck, restart, place):
    wreck.claimed(wreck.lay(place))
    wreck.failed()
    wreck.record("put_away", **{"as": f"a~{ID}-2.txt"})
    wreck.record("retried", fresh=False)
    wreck.record("job_opened")
    wreck.failed()

    states, _, tree = restart()

    last = place.rpartition("/")[2]
    assert isinstance(states[ID], Failed)
    assert states[ID].kept_as == last
    assert tree == {f"failed/{last}": "text", f"failed/{last}.failure.txt": SIDECAR}


def test_an_item_that_could_not_be_begun_again_is_found_where_it_was_put(wreck, restart):
    """It was retried, and failed before any attempt, as one does that nobody may read."""
    wreck.claimed(wreck.lay("failed/a.txt"))
    wreck.failed()
    wreck.record("put_away", **{"as": f"a~{ID}.txt"})
    wreck.record("retried", fresh=False)
    wreck.failed()

    states, _, tree = restart()

    assert states[ID].kept_as == "a.txt"
    assert tree == {"failed/a.txt": "text", "failed/a.txt.failure.txt": SIDECAR}


@pytest.mark.parametrize("place", [f"active/{ID}/a.txt", "hold/a.txt"])
def test_a_held_item_gets_to_hold(wreck, restart, place):
    wreck.claimed(wreck.lay(place))
    wreck.record("held", why="asked for")

    states, _, tree = restart()

    assert isinstance(states[ID], Held)
    assert states[ID].kept_as == "a.txt"
    assert tree == {"hold/a.txt": "text"}


def test_a_held_item_that_is_in_hold_stays_there(wreck, restart):
    wreck.claimed(wreck.lay("hold/a.txt"))
    wreck.record("held", why="asked for")
    wreck.record("put_away", **{"as": "a.txt"})

    states, _, tree = restart()

    assert states[ID].kept_as == "a.txt"
    assert tree == {"hold/a.txt": "text"}


@pytest.mark.parametrize("place", [f"active/{ID}/a.txt", "failed/a.txt", "hold/a.txt", "inbox/b"])
def test_a_removed_item_is_nowhere_and_nothing_else_goes_with_it(wreck, restart, place):
    wreck.lay("failed/b.txt", "another")
    wreck.claimed(wreck.lay(place))
    if place.startswith("failed"):
        wreck.failed()
        wreck.lay("failed/a.txt.failure.txt", SIDECAR)
    elif place.startswith("hold"):
        wreck.record("held", why="asked for")
    if not place.startswith("active"):
        wreck.record("put_away" if place[0] in "fh" else "interrupted", **{"as": "a.txt"})
    wreck.record("removed")

    states, counts, tree = restart()

    assert states == {}
    assert counts["removed"] == 1
    left = {"inbox/b": "text"} if place == "inbox/b" else {}
    assert tree == {"failed/b.txt": "another"} | left


# to the end


def test_after_every_crash_at_once_each_file_is_run_as_often_as_it_must_be(wreck, home, drain):
    home.configure(
        'handler = "handler:process"\nsettle = 0\n',
        handler=f"""
import os

def process(item):
    with open({str(home.path / "calls")!r}, "a") as calls:
        print(item.name, item.attempt, file=calls)
""",
    )
    wreck.lay(f"active/{ID}/adopted")
    wreck.lay("inbox/new")
    for number, name in enumerate(("begun", "done", "undone", "failed"), 2):
        item_id = f"019a3c5d7e2-{number:010x}"
        place = "inbox" if name == "undone" else f"active/{item_id}"
        wreck.claimed(wreck.lay(f"{place}/{name}"), name, item_id)
        if name in ("begun", "done"):
            wreck.record("started", id=item_id, attempt=1)
        if name == "done":
            wreck.record("done", id=item_id, attempt=1, result=None, seconds=0)
        if name == "failed":
            wreck.record("failed", id=item_id, attempt=1, step=None, error=ERROR, output="")
    wreck.write()

    ended = drain()

    assert ended.returncode == 0, ended.stderr
    calls = sorted((home.path / "calls").read_text().splitlines())
    assert calls == ["adopted 1", "begun 2", "new 1", "undone 1"]
    assert home.names("done") == ["adopted", "begun", "done", "new", "undone"]
    assert home.names("failed") == ["failed"]
    assert home.names("inbox") == []
    assert os.listdir(home.active) == [".lock"]
