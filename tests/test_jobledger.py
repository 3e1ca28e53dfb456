import pytest

from resumed import roll
from resumed.jobledger import JobLedger
from resumed.records import key

ERROR = {"kind": "builtins.ValueError", "text": "no"}


def told(*records):
    ledger = JobLedger()
    for at, (kind, particulars) in enumerate(records):
        ledger.apply({"kind": kind, "at": float(at), **particulars})
    return ledger


def part(mark, content=1, **more):
    return {"part": f"p{mark}", "key": key(mark, content), "attempt": 1, **more}


def state(ledger, mark):
    return roll.STATES[ledger.roll.states[ledger.roll.find(mark)]]


def test_each_part_has_the_state_that_its_last_record_gives():
    ledger = told(
        ("done", part(1)),
        ("waiting", part(2, error=ERROR, delay=5.0)),
        ("failed", part(3)),
        ("crashed", part(4)),
        ("bad", {"part": "line 5", "key": key(5, 5)}),
    )

    states = [state(ledger, mark) for mark in range(1, 6)]
    assert states == ["done", "waiting", "failed", "pending", "bad"]
    assert ledger.tries[ledger.roll.find(2)].delay_seconds == 5.0
    assert ledger.tries[ledger.roll.find(4)].crashes == 1


def test_an_attempt_that_was_started_and_not_ended_is_running():
    ledger = told(("started", part(1)), ("started", part(2)), ("interrupted", part(2)))

    assert list(ledger.running.values()) == ["p1"]


def test_a_later_trace_of_an_earlier_attempt_says_nothing_new():
    ledger = told(
        ("traced", {"marks": {"00000000000000aa": 3}}),
        ("traced", {"marks": {"00000000000000aa": 1, "00000000000000bb": 1}}),
    )

    assert ledger.traces == {0xAA: 3, 0xBB: 1}


def test_another_content_makes_what_was_recorded_of_a_part_void():
    ledger = told(
        ("stepped", part(1, step="one", result=1)),
        ("done", part(1)),
        ("crashed", part(1, content=2, attempt=2)),
    )

    assert state(ledger, 1) == "pending"
    assert ledger.tries[0].steps == {}
    assert ledger.roll.attempts[0] == 2


def test_a_retry_takes_up_what_failed_or_waits_and_reopens_the_job():
    failing = [
        ("failed", part(1)),
        ("failed", part(2)),
        ("waiting", part(3, error=ERROR, delay=5.0)),
        ("done", part(4)),
        ("closed", {"error": ERROR}),
    ]

    everything = told(*failing, ("retried", {"key": None}))
    one = told(*failing, ("retried", {"key": key(1, 1)}))

    assert everything.closed is None
    assert [state(everything, mark) for mark in range(1, 5)] == ["pending"] * 3 + ["done"]
    assert [state(one, mark) for mark in range(1, 5)] == ["pending", "failed", "waiting", "done"]


@pytest.mark.parametrize(("fresh", "left"), [(False, {"one": 1}), (True, {})])
def test_a_retry_keeps_recorded_steps_unless_it_is_fresh(fresh, left):
    ledger = told(
        ("stepped", part(1, step="one", result=1)),
        ("failed", part(1)),
        ("retried", {"key": None, "fresh": fresh}),
    )

    kept = ledger.tries.get(0)
    assert (kept.steps if kept else {}) == left


def test_what_is_gone_is_told_anew_each_time_the_file_is_read():
    split = ("split", {"parts": 1})
    first = [("failed", part(1)), ("done", part(2)), ("gone", {"keys": [key(1, 1)]}), split]

    assert told(*first).gone == {0}
    assert told(*first, ("gone", {"keys": [key(2, 1)]}), split).gone == {1}
    assert told(*first, split).gone == frozenset()
    assert state(told(*first), 1) == "failed"


def test_a_reduce_is_claimed_before_and_done_once():
    claimed = told(("reduce_claimed", {"attempt": 1, "key": "k"}))
    done = told(
        ("reduce_claimed", {"attempt": 1, "key": "k"}),
        ("reduce_crashed", {"attempt": 1}),
        ("reduce_claimed", {"attempt": 2, "key": "k"}),
        ("reduced", {"attempt": 2, "result": 5, "seconds": 0.1}),
    )

    assert claimed.reduce.state == "claimed"
    assert (done.reduce.state, done.reduce.attempts, done.reduce.result) == ("done", 2, 5)


def test_a_record_of_a_newer_program_is_refused():
    with pytest.raises(KeyError):
        told(("teleported", {}))
