import pytest

from resumed.entry import Entry, retell
from resumed.ledger import Ledger
from resumed.model import (
    Done,
    Failed,
    Fault,
    Gone,
    Held,
    Identity,
    Pending,
    Removed,
    Running,
    Waiting,
)

AT = 1763812800.125
FAULT = Fault("timeout", "after 3 s")
STATES = [
    Pending(),
    Running(4, AT),
    Waiting(4, "scan", FAULT, AT, 12.5),
    Held("asked for", AT),
    Held("asked for", AT, "a~x.jpg"),
    Done({"hits": [1]}, AT),
    Failed(4, None, FAULT, "tail", AT),
    Failed(4, "scan", FAULT, "tail", AT, "a~x.jpg"),
    Removed(AT),
]


def entry_in(state):
    kept_as = getattr(state, "kept_as", None)
    return Entry(
        "i", "sub/a.jpg", Identity(1, 2, 3), 1000, AT, state, 4, 3, 2, 1, {"one": None}, kept_as
    )


@pytest.mark.parametrize("state", STATES, ids=str)
def test_what_is_retold_adds_up_to_the_same_entry(state):
    entry, ledger = entry_in(state), Ledger()
    for fact in retell(entry):
        ledger.apply({**fact.particulars, "kind": fact.kind, "at": fact.at})
    assert ledger.items == {"i": entry}
    assert ledger.counts == {}  # told once, counted once


def test_what_is_over_has_no_state_to_retell():
    assert [fact.kind for fact in retell(entry_in(Gone("deleted", AT)))] == ["claimed", "stepped"]


def test_an_item_is_a_suspect_while_its_last_attempts_crashed():
    entry = entry_in(Pending())
    assert entry.suspect
    entry.crashes = 0
    assert not entry.suspect
