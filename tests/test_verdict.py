import errno

import pytest

from resumed import verdict
from resumed.entry import Entry
from resumed.model import Fault, Identity
from resumed.policy import Policy
from resumed.settings import RetryPolicy
from resumed.verdict import Broken, Died, Exited, Raised, Returned, Stopped

AT = 1763812800.0
SAME, OTHER = Identity(1, 2, 3), Identity(1, 2, 4)
LOST = Raised(("builtins.ConnectionError", "builtins.OSError"), "reset", errno.ECONNRESET, "fetch")
WRONG = Raised(("builtins.ValueError",), "no number")
POLICY = Policy(RetryPolicy(max_attempts=3, initial_seconds=10, jitter_seconds=0))


@pytest.fixture
def entry():
    return Entry("i", "a.jpg", SAME, 1000, AT, attempts=7)


def judge(entry, end, *, identity=SAME, output="tail"):
    return verdict.judge(entry, end, output=output, identity=identity, policy=POLICY, at=AT)


def test_a_handler_that_returns_is_done(entry):
    fact = judge(entry, Returned({"hits": 1}, 0.12345678))
    told = {"id": "i", "attempt": 7, "result": {"hits": 1}, "seconds": 0.123457}
    assert (fact.kind, fact.at, fact.particulars) == ("done", AT, told)


def test_a_handler_may_take_its_file_away_and_be_done(entry):
    assert judge(entry, Returned(None, 1), identity=None).kind == "done"


def test_what_may_pass_is_tried_again_after_a_wait(entry):
    fact = judge(entry, LOST)
    assert fact.kind == "waiting"
    assert fact.particulars == {
        "id": "i",
        "attempt": 7,
        "step": "fetch",
        "error": {"kind": "builtins.ConnectionError", "text": "reset"},
        "delay": 10,
        "output": "tail",
    }


def test_the_waits_grow_with_the_failures_and_end(entry):
    delays = []
    while (fact := judge(entry, LOST)).kind == "waiting":
        delays.append(fact.particulars["delay"])
        entry.failures += 1
    assert delays == [10, 20]
    assert fact.kind == "failed"
    assert fact.particulars["output"] == "tail"


def test_what_cannot_pass_fails_at_once(entry):
    fact = judge(entry, WRONG)
    assert fact.kind == "failed"
    assert fact.particulars["error"] == {"kind": "builtins.ValueError", "text": "no number"}
    assert fact.particulars["step"] is None


def test_without_its_file_no_other_attempt_is_made(entry):
    assert judge(entry, LOST, identity=None).kind == "failed"


@pytest.mark.parametrize("end", [Returned(None, 1), LOST, WRONG, Died("timeout"), Exited(3)])
def test_a_changed_file_begins_anew_however_the_attempt_ended(entry, end):
    fact = judge(entry, end, identity=OTHER)
    assert fact.kind == "claimed"
    assert fact.particulars == {
        "id": "i",
        "name": "a.jpg",
        "inode": 1,
        "size": 2,
        "mtime_ns": 4,
        "owner": 1000,
        "changed": True,
    }


def test_a_file_that_is_changed_again_fails_and_says_so(entry):
    entry.changes = 1
    fact = judge(entry, Returned(None, 1), identity=OTHER)
    assert fact.kind == "failed"
    assert fact.particulars["error"]["kind"] == "changed"
    assert fact.particulars["output"] == "tail"


@pytest.mark.parametrize("identity", [SAME, OTHER, None])
@pytest.mark.parametrize(
    ("end", "told"),
    [
        (Stopped(), {}),
        (Broken("no such program"), {"why": "no such program"}),
        (Raised(("builtins.OSError",), "full", errno.ENOSPC), {"why": "full"}),
    ],
)
def test_a_stop_and_the_surroundings_do_not_count(entry, end, told, identity):
    fact = judge(entry, end, identity=identity)
    assert (fact.kind, fact.particulars) == ("interrupted", {"id": "i", "attempt": 7, **told})


@pytest.mark.parametrize(
    ("end", "kind", "fault"),
    [
        (Exited(75), "waiting", "exit 75"),
        (Exited(100), "failed", "exit 100"),
        (Exited(-9), "waiting", "signal 9"),
        (Died("signal 9 (KILL)"), "waiting", "signal 9 (KILL)"),
        (Died("timeout", "scan"), "waiting", "timeout"),
    ],
)
def test_exits_signals_and_timeouts_are_weighed(entry, end, kind, fault):
    fact = judge(entry, end)
    assert (fact.kind, fact.particulars["error"]["kind"]) == (kind, fault)
    assert fact.particulars["step"] == end.step


def test_an_item_that_took_the_program_down_too_often_fails(entry):
    entry.crashes = 2
    assert verdict.crashed_for_good(entry, 3, AT) is None
    entry.crashes = 3
    fact = verdict.crashed_for_good(entry, 3, AT)
    assert (fact.kind, fact.particulars["error"]["kind"]) == ("failed", "crashed")
    assert "3 times" in fact.particulars["error"]["text"]


def test_a_failure_without_an_attempt_bears_the_last_ones_number(entry):
    fact = verdict.failure(entry, Fault("unreadable", "not yours"), AT)
    assert fact.particulars["attempt"] == 7


def test_only_full_and_read_only_disks_are_the_surroundings(entry):
    assert verdict.surroundings(WRONG, POLICY) is None
    assert verdict.surroundings(LOST, POLICY) is None
    assert verdict.surroundings(Raised(("x",), "ro", errno.EROFS), POLICY) == "ro"
    assert verdict.surroundings(Returned(None, 0), POLICY) is None
    assert entry.attempts == 7
