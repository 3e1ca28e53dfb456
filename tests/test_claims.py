import os
import time

import pytest

from resumed import durable, stranger
from resumed.arrival import Ready, identity_of
from resumed.claims import MOST_AHEAD, QUICK_SECONDS, UNUSED_SECONDS, Claims, Way
from resumed.model import Failed
from resumed.settings import Paths
from resumed.spool import Spool

ID, OTHER = "019a3c5d7e2-0000000001", "019a3c5d7e2-0000000002"
ERROR = {"kind": "builtins.ValueError", "text": "no"}
WORKERS = 2
LEAST = 2 * WORKERS


@pytest.fixture
def inbox(tmp_path):
    for folder in ("inbox", "active", "hold", "done", "failed", "out", "state/history"):
        (tmp_path / folder).mkdir(parents=True)
    stranger.ignore_lease_breaks()
    return tmp_path / "inbox"


@pytest.fixture
def told():
    return []


@pytest.fixture
def make(inbox, recorder, told):
    spool = Spool(Paths.below(inbox.parent, inbox.parent / "state"))
    numbers = iter(range(10_000))

    def make_claims(**settings):
        return Claims(
            spool,
            recorder,
            workers=WORKERS,
            mint=lambda: f"{1:011x}-{next(numbers):010x}",
            forget_note=lambda *_: None,
            tell=lambda event, **fields: told.append((event, fields)),
            **{"clock": time.monotonic, "one_sync": False, **settings},
        )

    yield make_claims
    spool.close()


@pytest.fixture
def claims(make):
    return make()


@pytest.fixture
def batch(inbox):
    def make_batch(count, now=0.0):
        made = []
        for number in range(count):
            path = inbox / f"{now}-{number}"
            path.write_text("text")
            fd = os.open(path, os.O_RDONLY)
            made.append(Ready(path.name, identity_of(os.fstat(fd)), fd))
        return made

    return make_batch


@pytest.fixture
def claim(claims, batch):
    return lambda count, now: claims.claim(batch(count, now), now)


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


# what makes a claim durable


@pytest.fixture
def syncs(inbox, monkeypatch):
    """The syncs that were made, each with whether the journal's file knew of a claim by then."""
    made = []

    def spy(module, name):
        real = getattr(module, name)

        def sync(fd):
            known = b'"kind":"claimed"' in (inbox.parent / "state/journal.jsonl").read_bytes()
            made.append((name, known))
            return real(fd)

        monkeypatch.setattr(module, name, sync)

    for module, name in ((os, "fsync"), (os, "fdatasync"), (durable, "sync_filesystem")):
        spy(module, name)
    return made


@pytest.mark.parametrize("count", [1, 40])
def test_one_sync_covers_files_and_records(make, batch, recorder, syncs, count):
    make(one_sync=True).claim(batch(count), 0.0)
    assert not recorder.dirty

    recorder.commit()

    assert syncs == [("sync_filesystem", True)]


@pytest.mark.parametrize("count", [1, 40])
def test_where_one_sync_does_not_cover_the_journal_records_follow_the_files(
    make, batch, recorder, syncs, count
):
    make().claim(batch(count), 0.0)
    assert recorder.dirty
    assert not any(known for _, known in syncs)

    recorder.commit()

    assert syncs[-1] == ("fdatasync", True)


def test_a_batch_of_which_nothing_was_claimed_proves_nothing_synced(make, batch, recorder, inbox):
    vanished = batch(3)
    for each in vanished:
        (inbox / each.name).unlink()
    recorder.record("paused", by="request")

    assert make(one_sync=True).claim(vanished, 0.0) == []
    assert recorder.dirty


def test_a_single_file_goes_the_way_that_was_quicker_of_late(make, batch, syncs):
    now = 0.0

    def clock():
        nonlocal now
        now += 5.0 if syncs and syncs[-1][0] == "sync_filesystem" else 0.001
        return now

    claims = make(one_sync=True, clock=clock)
    ways = []
    for turn in range(4):
        syncs.clear()
        claims.claim(batch(1, turn), 0.0)
        ways.append(syncs[0][0])

    assert ways == ["sync_filesystem", "fsync", "fsync", "fsync"]


def test_the_other_way_is_tried_again_after_a_while():
    way = Way()
    way.learn(1.0)
    tries = 0
    while not way.together:
        way.learn(0.1)
        tries += 1

    assert 10 < tries < 100


@pytest.mark.parametrize("one_sync", [False, True])
def test_a_file_that_cannot_be_moved_is_told_of_once(make, batch, told, monkeypatch, one_sync):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    claims = make(one_sync=one_sync)
    monkeypatch.setattr(durable, "move", refuse)

    for turn in (1.0, 1.0, 2.0):
        assert claims.claim(batch(1, turn), turn) == []

    assert told == [
        ("unmovable", {"name": "1.0-0", "why": "Operation not permitted"}),
        ("unmovable", {"name": "2.0-0", "why": "Operation not permitted"}),
    ]


# files that failed before


@pytest.mark.parametrize("one_sync", [False, True])
def test_of_two_links_to_a_failed_file_one_is_its_item_again(make, inbox, recorder, one_sync):
    """Both failed, and a person moved both back: their identity is one."""
    first, second = inbox / "a", inbox / "b"
    first.write_text("text")
    os.link(first, second)
    identity = identity_of(first.stat())
    for name, item_id in (("a", OTHER), ("b", ID)):
        recorder.record("claimed", id=item_id, name=name, owner=0, **identity._asdict())
        recorder.record("failed", id=item_id, attempt=1, step=None, error=ERROR, output="")
        recorder.record("put_away", id=item_id, **{"as": name})

    back = [Ready(each, identity, os.open(inbox / each, os.O_RDONLY)) for each in ("a", "b")]
    entries = [entry for entry, _ in make(one_sync=one_sync).claim(back, 0.0)]

    active = inbox.parent / "active"
    assert len({entry.id for entry in entries}) == 2
    assert ID in {entry.id for entry in entries}
    assert all((active / entry.id / entry.name).exists() for entry in entries)
    assert not os.listdir(inbox)


def test_another_link_to_a_file_in_failed_is_an_item_of_its_own(make, inbox, recorder):
    """Nobody moved it back: its item is still explained by the note beside it."""
    kept, link = inbox.parent / "failed/a", inbox / "a"
    kept.write_text("text")
    os.link(kept, link)
    identity = identity_of(link.stat())
    recorder.record("claimed", id=ID, name="a", owner=0, **identity._asdict())
    recorder.record("failed", id=ID, attempt=1, step=None, error=ERROR, output="")
    recorder.record("put_away", id=ID, **{"as": "a"})

    ((entry, _),) = make().claim([Ready("a", identity, os.open(link, os.O_RDONLY))], 0.0)

    assert entry.id != ID
    assert isinstance(recorder.ledger.items[ID].state, Failed)
    assert kept.exists()
