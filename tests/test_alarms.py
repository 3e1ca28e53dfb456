from resumed.alarms import Alarms
from resumed.entry import Entry
from resumed.ledger import Ledger
from resumed.model import Done, Identity
from resumed.settings import Expectations

HOUR = 3600


def pending(claimed_at):
    ledger = Ledger()
    ledger.items["1"] = Entry("1", "a", Identity(1, 2, 3), 0, claimed_at)
    return ledger


def test_silence_is_told_once_each_time_it_begins():
    alarms, expect = Alarms(1000), Expectations(every_seconds=HOUR)

    told = [alarms.turn(expect, Ledger(), at) for at in (1000 + HOUR, 4700, 4800)]
    alarms.arrived(4900)
    told += [alarms.turn(expect, Ledger(), at) for at in (4900, 4900 + HOUR + 1)]

    assert [len(each) for each in told] == [0, 1, 0, 0, 1]
    assert told[1] == ["nothing came for 1h 1min, one is expected every 1h"]


def test_an_item_that_waits_too_long_is_told_of():
    alarms, expect = Alarms(0), Expectations(oldest_pending_seconds=60)

    assert alarms.turn(expect, pending(0), 59) == []
    assert alarms.turn(expect, pending(0), 61) == ["an item has been waiting for 1min 1s"]


def test_what_is_over_does_not_wait():
    ledger = pending(0)
    ledger.items["1"].state = Done(None, 0)

    assert Alarms(0).turn(Expectations(oldest_pending_seconds=60), ledger, 1000) == []


def test_failures_of_the_last_hour_are_counted():
    alarms, expect = Alarms(0), Expectations(growing_failures=2)
    alarms.failed(0)
    alarms.failed(HOUR)

    assert alarms.turn(expect, Ledger(), HOUR) == ["2 items failed within an hour"]
    assert alarms.turn(expect, Ledger(), HOUR + 1) == []


def test_nothing_is_expected_unless_it_is_said():
    alarms = Alarms(0)
    alarms.failed(0)

    assert alarms.turn(Expectations(), pending(0), 10**9) == []
