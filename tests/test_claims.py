import os
import time

import pytest

from resumed import stranger
from resumed.arrival import Ready, identity_of
from resumed.claims import MOST_AHEAD, QUICK_SECONDS, UNUSED_SECONDS, Claims
from resumed.recorder import Recorder
from resumed.settings import Paths
from resumed.spool import Spool

WORKERS = 2
LEAST = 2 * WORKERS


@pytest.fixture
def inbox(tmp_path):
    for folder in ("inbox", "active", "hold", "done", "failed", "out", "state/history"):
        (tmp_path / folder).mkdir(parents=True)
    stranger.ignore_lease_breaks()
    return tmp_path / "inbox"


@pytest.fixture
def recorder(inbox):
    recorder = Recorder(Paths.below(inbox.parent, inbox.parent / "state"), time.time, lambda _: 7)
    yield recorder
    recorder.close()


@pytest.fixture
def claims(inbox, recorder):
    spool = Spool(Paths.below(inbox.parent, inbox.parent / "state"))
    numbers = iter(range(10_000))
    yield Claims(
        spool,
        recorder,
        workers=WORKERS,
        mint=lambda: f"{1:011x}-{next(numbers):010x}",
        forget_note=lambda *_: None,
    )
    spool.close()


@pytest.fixture
def claim(claims, inbox):
    def claim_some(count, now):
        batch = []
        for number in range(count):
            path = inbox / f"{now}-{number}"
            path.write_text("text")
            fd = os.open(path, os.O_RDONLY)
            batch.append(Ready(path.name, identity_of(os.fstat(fd)), fd))
        return claims.claim(batch, now)

    return claim_some


def test_at_first_two_are_claimed_for_each_worker(claims):
    assert claims.room(0, 0.0) == LEAST


def test_nothing_is_claimed_while_half_of_what_was_still_waits(claims):
    assert claims.room(LEAST // 2, 0.0) == 0
    assert claims.room(LEAST // 2 - 1, 0.0) == LEAST - (LEAST // 2 - 1)


def test_a_claim_makes_entries_in_its_order(claim, recorder):
    entries = [entry for entry, _ in claim(3, 1.0)]

    assert [entry.name for entry in entries] == ["1.0-0", "1.0-1", "1.0-2"]
    assert list(recorder.ledger.items.values()) == entries


def test_a_power_cut_does_not_change_the_key_that_a_first_attempt_was_told(claim, recorder):
    """The next commit comes before anything is given out; it has to sync."""
    claim(1, 1.0)

    assert recorder.urgent
    assert recorder.commit()


def test_claims_that_are_used_quickly_grow_to_a_limit(claims, claim):
    now, rooms = 0.0, []
    for _ in range(6):
        rooms.append(claims.room(0, now))
        claim(rooms[-1], now)
        now += QUICK_SECONDS / 2

    assert rooms[0] == rooms[1] == LEAST
    assert rooms[2] == 4 * LEAST
    assert rooms[-1] == MOST_AHEAD


def test_single_arrivals_in_quick_succession_do_not_make_claims_grow(claims, claim):
    for turn in range(10):
        claim(1, turn * QUICK_SECONDS / 2)

    assert claims.room(0, 9 * QUICK_SECONDS / 2) == LEAST


def test_an_inbox_that_stays_empty_does_not_make_claims_grow(claims, claim):
    claim(LEAST, 0.0)

    assert [claims.room(0, each / 100) for each in range(10)] == [LEAST] * 10


def test_claims_that_lie_unused_shrink_again(claims, claim):
    now = 0.0
    for _ in range(4):
        claim(claims.room(0, now), now)
        now += QUICK_SECONDS / 2
    grown = claims.room(0, now)

    later = now + UNUSED_SECONDS + 0.1

    assert claims.room(grown, later) == 0
    assert claims.room(0, later) == grown // 2
