"""Skim journals and hold the answer against that of a replay."""

import itertools
import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resumed import bookmark, durable, journal, place, view
from resumed.documents import STATES, state_name
from resumed.errors import JournalCorruptError, JournalVersionError
from resumed.model import Fact
from resumed.recorder import Recorder

AT = 1763812800.0
ERROR = {
    "step": "scan",
    "error": {"kind": "builtins.OSError", "text": 'no "retold":true, "id":"x"'},
}
# What each state of a live item may be followed by.
NEXT = {
    "new": ["claimed"],
    "pending": ["started", "held", "removed", "job_opened", "gone"],
    "running": ["stepped", "waiting", "interrupted", "crashed", "done", "failed", "claimed again"],
    "waiting": ["started", "retried", "held", "removed", "failed"],
    "open": ["job_ended", "failed", "done"],
    "held": ["put_away", "released", "removed"],
    "failed": ["put_away", "retried", "removed", "gone", "claimed again"],
    "done": ["put_away"],
    "removed": ["put_away"],
}
FACTS = {
    "claimed": {"inode": 7, "size": 3, "mtime_ns": 9, "owner": 1000},
    "started": {"attempt": 1},
    "stepped": {"step": "scan", "result": {"retold": True, "kind": "done", "id": "i"}},
    "waiting": {**ERROR, "attempt": 1, "delay": 10.0, "output": ""},
    "interrupted": {"attempt": 1},
    "crashed": {"attempt": 1},
    "done": {"attempt": 1, "result": {"retold": True}, "seconds": 1.0},
    "failed": {**ERROR, "attempt": 1, "output": "tail"},
    "gone": {"why": "taken away"},
    "put_away": {"as": "name"},
    "retried": {"fresh": False},
    "held": {"why": "asked for"},
    "released": {},
    "removed": {},
    "job_opened": {},
    "job_ended": {"parts": 1, "done": 1, "failed": 0},
}
WHOLE = [("paused", {"by": "0"}), ("unpaused", {"by": "0"}), ("reloaded", {})]
WHOLE += [("versioned", {"version": "2"}), ("compact", {}), ("synced", {})]
CHOICES = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 1 << 16)), max_size=80)


class Past:
    """Make a journal by choices, through the recorder that makes real ones."""

    def __init__(self, paths):
        self.paths = paths
        ticks = itertools.count(1)
        self.recorder = Recorder(paths, lambda: AT + next(ticks), lambda _: next(ticks))

    def go(self, number, choice):
        if number == 0:
            kind, particulars = WHOLE[choice % len(WHOLE)]
            if kind == "compact":
                self.recorder.compact()
            else:
                self.recorder.record(kind, **particulars)
            return
        item_id = f'{number}"\\' if number == 1 else f"019a3c5d7e2-{number:010x}"
        entry = self.recorder.ledger.items.get(item_id)
        kinds = NEXT["new" if entry is None else state_name(entry.state)]
        kind = kinds[choice % len(kinds)]
        particulars = dict(FACTS[kind.split()[0]])
        if kind.startswith("claimed"):
            particulars["name"] = f"写真 {number}"
        if kind == "claimed again":
            particulars["changed"] = True
        self.recorder.record(kind.split()[0], id=item_id, **particulars)

    def close(self):
        self.recorder.commit()
        self.recorder._journal.close()


@pytest.fixture
def paths(home):
    (home.state / "history").mkdir()
    return place.find(home=home.path)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None
)
@given(CHOICES, st.sets(st.sampled_from(STATES)))
def test_a_skim_tells_what_a_replay_tells_of_the_wanted_states(paths, choices, states):
    for left in (*paths.state.glob("journal*"), *paths.state.glob("initialised")):
        left.unlink()
    past = Past(paths)
    for number, choice in choices:
        past.go(number, choice)
    past.close()

    whole, skimmed = view.look(paths), view.look(paths, states)

    items = whole.ledger.items
    wanted = {i: each for i, each in items.items() if state_name(each.state) in states}
    others = [state_name(each.state) for i, each in items.items() if i not in wanted]
    assert skimmed.ledger.items == wanted
    assert list(skimmed.ledger.items) == list(wanted)
    assert skimmed.unread == {state: others.count(state) for state in others}
    assert skimmed.ledger.counts == whole.ledger.counts
    assert (skimmed.ledger.paused, skimmed.ledger.version) == (
        whole.ledger.paused,
        whole.ledger.version,
    )
    assert skimmed.reading == whole.reading


@pytest.fixture
def journalled(paths):
    """Write a journal with items in many states."""
    past = Past(paths)
    for turn in range(60):
        past.go(1 + turn % 9, turn * 7)
        past.recorder.commit()
    past.close()
    return paths.journal


def test_damage_is_found_wherever_it_is(journalled, paths):
    content = journalled.read_bytes()
    ends = [at for at, byte in enumerate(content) if byte == ord("\n")]

    for at in range(ends[0] + 5, ends[-3], 331):
        journalled.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        whole, skimmed = refusal(paths, None), refusal(paths, {"waiting"})
        assert skimmed == whole
        assert skimmed is not None


def test_a_tail_that_a_crash_left_is_judged_alike(journalled, paths):
    content = journalled.read_bytes()

    for cut in range(len(content) - 700, len(content), 11):
        journalled.write_bytes(content[:cut])
        whole, skimmed = view.look(paths), view.look(paths, {"failed", "waiting"})
        assert skimmed.reading == whole.reading


def refusal(paths, states):
    """Return what is said of a journal that is damaged, None when it is not seen."""
    try:
        view.look(paths, states)
    except JournalCorruptError as error:
        return str(error)
    return None


@pytest.mark.parametrize("states", [None, {"failed"}])
def test_a_record_of_an_unknown_kind_is_another_version(paths, states):
    facts = [Fact("levitated", AT, {"id": "i"})]
    content = journal.whole("0" * 8, None, Fact("opened", AT, {"counts": {}}), facts)
    folder = durable.open_folder(paths.state)
    durable.place(folder, paths.journal.name, content)

    with pytest.raises(JournalVersionError, match="levitated"):
        view.look(paths, states)


@pytest.mark.parametrize("states", [None, {"failed"}])
def test_a_record_about_an_item_that_is_not_there_is_damage(paths, states):
    facts = [Fact("started", AT, {"id": "i", "attempt": 1})]
    paths.journal.write_bytes(
        journal.whole("0" * 8, None, Fact("opened", AT, {"counts": {}}), facts)
    )

    with pytest.raises(JournalCorruptError):
        view.look(paths, states)


def test_status_and_failures_tell_what_they_told(journalled, ctl):
    journalled.touch()
    status = json.loads(ctl("status", "--json").stdout)
    listed = [json.loads(line) for line in ctl("ls", "--json").stdout.splitlines()]

    states = [each["state"] for each in listed]
    assert status["counts"] == {state: states.count(state) for state in STATES}
    failures = [json.loads(line) for line in ctl("failures", "--json").stdout.splitlines()]
    assert failures == [each for each in listed if each["state"] == "failed"]


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Lend a cache, and think each journal worth a bookmark."""
    folder = tmp_path / "cache"
    folder.mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    monkeypatch.setattr(bookmark, "WORTH_BYTES", 0)
    return folder / "resumed"


def answer(paths, states):
    """Return all that a look tells, to be compared."""
    try:
        seen = view.look(paths, states)
    except JournalCorruptError as error:
        return str(error)
    ledger = seen.ledger
    told = (ledger.counts, ledger.paused, ledger.version, seen.reading, seen.unread)
    return ledger.items, list(ledger.items), told


def without_bookmark(paths, states):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", "/nonexistent")
        return answer(paths, states)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None
)
@given(CHOICES, st.sets(st.integers(0, 80)), st.sets(st.sampled_from(STATES)))
def test_a_look_that_goes_on_after_a_bookmark_tells_the_same(paths, cache, choices, looks, states):
    for left in (*paths.state.glob("journal*"), *paths.state.glob("initialised")):
        left.unlink()
    past = Past(paths)
    for turn, (number, choice) in enumerate(choices):
        past.go(number, choice)
        past.recorder.commit()
        if turn in looks:
            assert answer(paths, states) == without_bookmark(paths, states)
    past.close()

    assert answer(paths, {"failed"}) == without_bookmark(paths, {"failed"})
    assert answer(paths, states) == without_bookmark(paths, states)
    assert list(cache.iterdir())


def bytes_read(action):
    """Count what this process read from files while it did something."""
    before = read_so_far()
    action()
    return read_so_far() - before


def read_so_far():
    return int(Path("/proc/self/io").read_text().split()[1])


@pytest.fixture
def long_journal(paths):
    """Write a journal of which a bookmark has a small part only."""
    past = Past(paths)
    for number in range(2, 2000):
        for choice in (0, 0, 5, 0):
            past.go(number, choice)
    past.close()
    return paths.journal


def test_only_what_came_after_the_bookmark_is_read(long_journal, paths, cache, monkeypatch):
    length = long_journal.stat().st_size

    monkeypatch.setattr(bookmark, "WORTH_BYTES", 1000)
    first = bytes_read(lambda: view.look(paths, {"running"}))
    second = bytes_read(lambda: view.look(paths, {"running"}))

    assert list(cache.iterdir())
    assert first > length
    assert second < length / 2


@pytest.mark.usefixtures("cache")
def test_a_changed_journal_makes_a_bookmark_void(journalled, paths):
    content = journalled.read_bytes()
    states = {"waiting", "failed"}
    ends = [at + 1 for at, byte in enumerate(content) if byte == ord("\n")]
    view.look(paths, states)

    for at in range(1, len(content), 193):
        grown = b'{"n":9' * (at % 2)
        journalled.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :] + grown)
        assert answer(paths, states) == without_bookmark(paths, states)
    for end in ends[1::3]:
        journalled.write_bytes(content[:end])
        assert answer(paths, states) == without_bookmark(paths, states)
    journalled.write_bytes(content)
    view.look(paths, states)
    journalled.write_bytes(content + b'{"n":9999,"s":9998,"g":"0","half a line')
    assert answer(paths, states) == without_bookmark(paths, states)


def test_a_bookmark_that_is_damaged_foreign_or_of_another_version_is_not_believed(
    journalled, paths, cache, monkeypatch
):
    states = {"waiting"}
    told = without_bookmark(paths, states)
    view.look(paths, states)
    (mark,) = cache.iterdir()
    content = mark.read_bytes()

    for at in range(0, len(content), 13):
        mark.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        assert found(journalled) is None
        mark.write_bytes(content[:at])
        assert found(journalled) is None
    assert answer(paths, states) == told
    assert found(journalled) is not None
    mark.chmod(0o666)
    assert found(journalled) is None
    mark.chmod(0o600)
    monkeypatch.setattr(bookmark, "__version__", "0.0.0")
    assert found(journalled) is None


def found(path):
    with path.open("rb") as file:
        return bookmark.find(path, file)


@pytest.mark.usefixtures("journalled")
def test_without_a_cache_of_ones_own_nothing_is_kept(paths, cache, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")
    for home in ("", "relative", "/nonexistent"):
        monkeypatch.setenv("HOME", home)
        assert view.look(paths, {"failed"}).reading is not None
    theirs = cache.parent / "theirs" / ".cache"
    theirs.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(theirs.parent))
    if os.geteuid() == 0:
        os.chown(theirs, 65534, 65534)
        view.look(paths, {"failed"})
        assert not list(theirs.iterdir())
        os.chown(theirs, 0, 0)

    view.look(paths, {"failed"})

    assert list((theirs / "resumed").iterdir())
    assert not cache.exists()
