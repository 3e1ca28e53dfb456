import copy
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from resumed.ledger import ANSWERS_KEPT, Ledger, UnknownKindError
from resumed.model import Done, Failed, Fault, Held, Identity, Pending, Removed, Running, Waiting
from resumed.recorder import Recorder
from resumed.settings import Paths

AT = 1763812800.0
ERROR = {"kind": "builtins.OSError", "text": "no"}
CLAIM = {"name": "a.jpg", "inode": 7, "size": 3, "mtime_ns": 9, "owner": 1000}
FAILED = {"attempt": 1, "step": "scan", "error": ERROR, "output": "tail"}
WAITING = {"attempt": 1, "step": None, "error": ERROR, "delay": 10.0, "output": ""}
FILE = Identity(7, 3, 9)


def add_up(*records):
    """Give records, told as (kind, particulars), to a new ledger."""
    ledger = Ledger()
    for kind, particulars in records:
        ledger.apply({"at": AT, "id": "i", **particulars, "kind": kind})
    return ledger


def item(*records):
    return add_up(("claimed", CLAIM), *records).items["i"]


def test_a_claimed_item_waits_for_a_worker():
    entry = item()
    assert (entry.id, entry.name, entry.owner, entry.identity) == ("i", "a.jpg", 1000, FILE)
    assert (entry.state, entry.attempts, entry.claimed_at) == (Pending(), 0, AT)


def test_a_started_attempt_is_counted_at_once():
    entry = item(("started", {"attempt": 1}))
    assert (entry.state, entry.attempts) == (Running(1, AT), 1)


def test_steps_are_kept_through_failures_crashes_and_interruptions():
    entry = item(
        ("started", {"attempt": 1}),
        ("stepped", {"step": "search", "result": [1]}),
        ("waiting", WAITING),
        ("started", {"attempt": 2}),
        ("crashed", {"attempt": 2}),
        ("started", {"attempt": 3}),
        ("interrupted", {"attempt": 3}),
    )
    assert entry.steps == {"search": [1]}
    assert (entry.state, entry.attempts, entry.failures, entry.crashes) == (Pending(), 3, 1, 1)
    assert entry.suspect


def test_a_failure_ends_a_row_of_crashes():
    entry = item(("crashed", {"attempt": 1}), ("crashed", {"attempt": 2}), ("waiting", WAITING))
    assert (entry.crashes, entry.failures, entry.attempts) == (0, 1, 2)
    assert entry.state == Waiting(1, None, Fault(**ERROR), AT, 10.0)
    assert not entry.suspect


def test_a_changed_file_begins_anew_but_its_attempts_go_on():
    entry = item(
        ("started", {"attempt": 1}),
        ("stepped", {"step": "search", "result": 1}),
        ("claimed", {**CLAIM, "size": 4, "changed": True}),
    )
    assert (entry.state, entry.steps, entry.changes, entry.attempts) == (Pending(), {}, 1, 1)
    assert entry.identity == Identity(7, 4, 9)


def test_done_is_kept_until_the_file_is_put_away():
    done = ("done", {"attempt": 1, "result": {"hits": 2}, "seconds": 1})
    assert item(done).state == Done({"hits": 2}, AT)
    ledger = add_up(("claimed", CLAIM), done, ("put_away", {"as": "a.jpg"}))
    assert (ledger.items, ledger.counts) == ({}, {"done": 1})


def test_a_failed_item_stays_and_is_known_by_its_file_once_put_away():
    ledger = add_up(("claimed", CLAIM), ("failed", FAILED))
    assert ledger.kept == {}
    ledger.apply({"kind": "put_away", "at": AT, "id": "i", "as": "a~i.jpg"})
    state = Failed(1, "scan", Fault(**ERROR), "tail", AT, "a~i.jpg")
    assert ledger.items["i"].state == state
    assert ledger.kept == {FILE: "i"}
    assert ledger.counts == {"failed": 1}


def test_a_failed_item_that_was_not_found_is_not_known_by_its_file():
    ledger = add_up(("claimed", CLAIM), ("failed", FAILED), ("put_away", {"as": None}))
    assert ledger.kept == {}


@pytest.mark.parametrize("fresh", [True, False])
def test_a_retry_begins_a_new_row_of_attempts(fresh):
    ledger = add_up(
        ("claimed", CLAIM),
        ("stepped", {"step": "search", "result": 1}),
        ("waiting", {**WAITING, "attempt": 4}),
        ("failed", {**FAILED, "attempt": 5}),
        ("put_away", {"as": "a.jpg"}),
        ("retried", {"fresh": fresh}),
    )
    entry = ledger.items["i"]
    assert (entry.state, entry.failures, entry.attempts) == (Pending(), 0, 4)
    assert entry.steps == ({} if fresh else {"search": 1})
    assert ledger.kept == {}
    assert entry.kept_as == "a.jpg"  # to be fetched from there


def test_of_two_names_of_one_file_the_other_is_still_known():
    other = {**CLAIM, "id": "j", "name": "b.jpg"}
    ledger = add_up(
        ("claimed", CLAIM),
        ("claimed", other),
        ("failed", FAILED),
        ("failed", {**FAILED, "id": "j"}),
        ("put_away", {"as": "a.jpg"}),
        ("put_away", {"id": "j", "as": "b.jpg"}),
        ("gone", {"why": "deleted"}),
    )
    assert ledger.kept == {FILE: "j"}


def test_a_held_item_is_released_to_where_it_was():
    held = ("held", {"why": "asked for"})
    assert item(held).state == Held("asked for", AT)
    assert item(held, ("put_away", {"as": "a.jpg"})).state == Held("asked for", AT, "a.jpg")
    entry = item(held, ("put_away", {"as": "a.jpg"}), ("released", {}))
    assert (entry.state, entry.kept_as) == (Pending(), "a.jpg")


def test_a_removed_item_is_over_when_its_file_is_unlinked():
    assert item(("removed", {})).state == Removed(AT)
    ledger = add_up(("claimed", CLAIM), ("removed", {}), ("put_away", {"as": None}))
    assert (ledger.items, ledger.counts) == ({}, {"removed": 1})


def test_a_gone_item_is_forgotten_at_once_and_counted():
    ledger = add_up(("claimed", CLAIM), ("gone", {"why": "deleted"}))
    assert (ledger.items, ledger.counts) == ({}, {"gone": 1})


def test_another_version_forgets_all_recorded_steps_and_the_same_none():
    step = ("stepped", {"step": "search", "result": 1})
    ledger = add_up(("versioned", {"version": "1"}), ("claimed", CLAIM), step)
    ledger.apply({"kind": "versioned", "at": AT, "version": "1"})
    assert ledger.items["i"].steps == {"search": 1}
    ledger.apply({"kind": "versioned", "at": AT, "version": "2"})
    assert ledger.items["i"].steps == {}


def test_only_the_last_answers_are_kept():
    records = [
        ("answered", {"request": str(n), "verb": "pause", "ok": True, "answer": []})
        for n in range(ANSWERS_KEPT + 5)
    ]
    answers = add_up(*records).answers
    assert len(answers) == ANSWERS_KEPT
    assert "4" not in answers
    assert "5" in answers


def test_pausing_lasts_until_unpausing():
    assert add_up(("paused", {"by": "a"})).paused
    assert not add_up(("paused", {"by": "a"}), ("unpaused", {"by": "a"})).paused


@pytest.mark.parametrize("kind", ["synced", "reloaded"])
def test_some_kinds_change_nothing(kind):
    assert add_up((kind, {})) == Ledger()


def test_an_unknown_kind_is_said_to_be_one():
    with pytest.raises(UnknownKindError, match="exploded"):
        add_up(("exploded", {}))


def test_a_header_brings_the_counts_of_ever():
    assert add_up(("opened", {"counts": {"done": 9}})).counts == {"done": 9}


def test_ledgers_are_equal_by_meaning_only():
    assert add_up(("claimed", CLAIM)) == add_up(("claimed", CLAIM))
    assert add_up(("claimed", CLAIM)) != add_up(("claimed", {**CLAIM, "size": 1}))
    assert Ledger() != "a ledger"


# ------------------------------------------------------------------ a model of all histories


NAMES = st.sampled_from(["a", "b.jpg", "ä\udc80\n"])
RESULTS = st.sampled_from([None, {"hits": [1, 2.5]}, "x" * 3000, "\u2028\udcff"])


class Histories(RuleBasedStateMachine):
    """Random histories of a few items, with crashes between any two records.

    The model says what each item must look like, in plain words; `after` remembers it for
    every line since the last rewriting. A power loss cuts the file anywhere beyond what was
    synced; a kill loses what was only remembered.
    """

    def __init__(self):
        super().__init__()
        base = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108
        self.folder = Path(tempfile.mkdtemp(dir=base))
        self.paths = Paths.below(self.folder, self.folder)
        self.paths.history.mkdir()
        self.time = AT
        self.generation = 0
        self.count = 0
        self.model = {}
        self.told = 0
        self.history = 0

    def teardown(self):
        self.recorder._journal.close()
        shutil.rmtree(self.folder)

    @initialize()
    def start(self):
        self.open()

    def open(self):
        self.recorder = Recorder(self.paths, self.clock, self.bits)
        self.base()

    def base(self):
        """Count from here: the file is as it was rewritten, or as it was found."""
        self.recorder.settle()
        self.lines = self.recorder._journal.last
        self.after = [copy.deepcopy(self.model)]

    def clock(self):
        self.time += 0.0625
        return self.time

    def bits(self, _):
        self.generation += 1
        return self.generation

    def say(self, kind, **particulars):
        self.recorder.record_lazily(kind, **particulars)

    def noted(self):
        self.after.append(copy.deepcopy(self.model))

    def some(self, data, *states):
        ids = sorted(i for i, each in self.model.items() if each["state"] in states)
        return data.draw(st.sampled_from(ids)) if ids else None

    def running(self, data):
        if not self.some(data, "running"):
            self.begin(data=data)
        return self.some(data, "running")

    @rule(name=NAMES, size=st.integers(0, 3))
    @precondition(lambda self: len(self.model) < 5)
    def claim(self, name, size):
        self.count += 1
        item_id = f"{self.count:011x}-{0:010x}"
        claim = {"name": name, "inode": self.count, "size": size, "mtime_ns": 1, "owner": 0}
        self.say("claimed", id=item_id, **claim)
        self.model[item_id] = {
            "state": "pending",
            "attempts": 0,
            "failures": 0,
            "crashes": 0,
            "changes": 0,
            "steps": {},
            "kept": None,
            "size": size,
        }
        self.noted()

    @rule(data=st.data())
    def begin(self, data):
        item_id = self.some(data, "pending", "waiting")
        if not item_id:
            self.claim(name="a", size=1)
            item_id = list(self.model)[-1]
        about = self.model[item_id]
        about["attempts"] += 1
        about |= {"state": "running", "kept": None}
        self.say("started", id=item_id, attempt=about["attempts"])
        self.noted()

    @rule(data=st.data(), step=st.sampled_from(["one", "two"]), result=RESULTS)
    def step(self, data, step, result):
        item_id = self.running(data)
        self.model[item_id]["steps"][step] = result
        self.say("stepped", id=item_id, step=step, result=result)
        self.noted()

    @rule(data=st.data(), how=st.sampled_from(["waiting", "interrupted", "crashed", "claimed"]))
    def end_for_now(self, data, how):
        item_id = self.running(data)
        about = self.model[item_id]
        told = {"attempt": about["attempts"]}
        if how == "waiting":
            about["failures"] += 1
            about["crashes"] = 0
            told |= {"step": None, "error": ERROR, "delay": 3.25, "output": "x"}
        elif how == "crashed":
            about["crashes"] += 1
        elif how == "claimed":
            about["changes"] += 1
            about |= {"steps": {}, "failures": 0, "crashes": 0, "size": about["size"] + 1}
            inode = int(item_id[:11], 16)
            told = {"name": "a", "inode": inode, "size": about["size"], "mtime_ns": 1}
            told |= {"owner": 0, "changed": True}
        about["state"] = "waiting" if how == "waiting" else "pending"
        self.say(how, id=item_id, **told)
        self.noted()

    @rule(data=st.data(), result=RESULTS, good=st.booleans())
    def end(self, data, result, good):
        item_id = self.running(data)
        about = self.model[item_id]
        about["state"] = "done" if good else "failed"
        told = {"attempt": about["attempts"]}
        if good:
            told |= {"result": result, "seconds": 0.5}
        else:
            told |= {"step": "one", "error": ERROR, "output": "tail"}
        self.say(about["state"], id=item_id, **told)
        self.noted()

    @rule(data=st.data())
    def put_away(self, data):
        item_id = self.some(data, "done", "removed", "failed", "held")
        if not item_id or self.model[item_id]["kept"]:
            return
        over = self.model[item_id]["state"] in ("done", "removed")
        self.say("put_away", id=item_id, **{"as": None if over else "kept"})
        if over:
            del self.model[item_id]
        else:
            self.model[item_id]["kept"] = "kept"
        self.noted()

    @rule(data=st.data(), verb=st.sampled_from(["retried", "held", "released", "removed", "gone"]))
    def ask(self, data, verb):
        states = {
            "retried": ["failed", "waiting"],
            "held": ["pending", "waiting"],
            "released": ["held"],
            "removed": ["pending", "waiting", "held", "failed"],
            "gone": ["pending", "failed", "held"],
        }[verb]
        item_id = self.some(data, *states)
        if not item_id:
            return
        about = self.model[item_id]
        told = {"fresh": True} if verb == "retried" else {"why": "asked for"}
        self.say(verb, id=item_id, **told)
        if verb == "gone":
            del self.model[item_id]
        elif verb == "retried":
            about |= {"state": "pending", "steps": {}, "failures": 0, "crashes": 0, "changes": 0}
        else:
            about["state"] = {"held": "held", "released": "pending", "removed": "removed"}[verb]
        self.noted()

    @rule(version=st.sampled_from(["1", "2"]), paused=st.booleans())
    def whole(self, version, paused):
        if self.recorder.ledger.version != version:
            for about in self.model.values():
                about["steps"] = {}
        self.say("versioned", version=version)
        self.noted()
        self.say("paused" if paused else "unpaused", by="test")
        self.noted()
        self.say("answered", request=f"{self.count}", verb="x", ok=True, answer=["done"])
        self.noted()

    @rule()
    def commit(self):
        heard = []
        self.recorder.then(lambda: heard.append(self.recorder.dirty))
        self.recorder.commit()
        assert heard == [False]
        self.told = len(self.after)

    @rule()
    def write(self):
        self.recorder._journal.write()

    @rule()
    def settle(self):
        closed = self.recorder.closed
        self.recorder.settle()
        if not closed:
            self.noted()

    @rule()
    def compact(self):
        self.recorder.compact()
        self.lines = self.recorder._journal.last
        self.after = [copy.deepcopy(self.model)]

    @rule(data=st.data(), power=st.booleans(), junk=st.binary(max_size=40))
    def crash(self, data, power, junk):
        book = self.recorder._journal
        synced = book.synced
        book.close()
        content = self.paths.journal.read_bytes()
        if power:
            lines = content.splitlines(keepends=True)
            least = sum(map(len, lines[:synced]))
            cut = data.draw(st.integers(least, len(content)))
            content = content[:cut] + junk.replace(b"\n", b"")
            self.paths.journal.write_bytes(content)
        whole = content.count(b"\n")
        assert whole >= synced
        self.model = copy.deepcopy(self.after[whole - self.lines])
        self.open()

    @invariant()
    def the_ledger_says_what_the_model_says(self):
        if hasattr(self, "recorder"):
            assert seen(self.recorder.ledger) == self.model


def seen(ledger):
    """Say in plain words what a ledger knows of its items."""
    return {
        entry.id: {
            "state": type(entry.state).__name__.lower(),
            "attempts": entry.attempts,
            "failures": entry.failures,
            "crashes": entry.crashes,
            "changes": entry.changes,
            "steps": entry.steps,
            "kept": entry.kept_as,
            "size": entry.identity.size,
        }
        for entry in ledger.items.values()
    }


class TestHistories(Histories.TestCase):
    settings = settings(
        max_examples=80,
        stateful_step_count=30,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
