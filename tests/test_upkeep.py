import time

import pytest

from resumed.compaction import AT_REST_BYTES, WORTH_BYTES
from resumed.recorder import Recorder
from resumed.settings import Paths
from resumed.upkeep import CLOSE_GROUP_SECONDS, Upkeep

LONG = "x" * 60_000


@pytest.fixture
def told():
    return []


@pytest.fixture
def upkeep(recorder, told):
    return Upkeep(recorder, None, lambda event, **_: told.append(event))


def grow(recorder, by_bytes):
    """Let items come and go until the journal is so much longer."""
    until, number = recorder.length_bytes + by_bytes, 0
    while recorder.length_bytes < until:
        number += 1
        id_ = f"{number:011x}-{number:010x}"
        about = {"name": "a", "inode": number, "size": 1, "mtime_ns": 1, "owner": 0}
        recorder.record("claimed", id=id_, **about)
        recorder.record_lazily("started", id=id_, attempt=1)
        recorder.record("done", id=id_, attempt=1, result=LONG, seconds=0.1)
        recorder.record_lazily("put_away", id=id_, **{"as": "a"})
        recorder.commit()


def test_a_busy_journal_is_rewritten_only_when_much_of_it_is_dead(recorder, upkeep, told):
    grow(recorder, WORTH_BYTES - 200_000)
    upkeep.turn(0.0, synced=True)
    assert told == []

    grow(recorder, 400_000)
    upkeep.turn(0.1, synced=True)

    assert told == ["compacted"]
    assert recorder.length_bytes < 1000


def test_a_journal_at_rest_is_rewritten_sooner(recorder, upkeep, told):
    grow(recorder, AT_REST_BYTES + 1)
    upkeep.turn(0.0, synced=True)
    upkeep.turn(CLOSE_GROUP_SECONDS / 2, synced=False)
    assert told == []

    upkeep.turn(CLOSE_GROUP_SECONDS, synced=False)

    assert told == ["compacted"]
    assert recorder.closed
    assert recorder.length_bytes < 1000


def test_a_little_is_never_rewritten(recorder, upkeep, told):
    grow(recorder, AT_REST_BYTES // 2)
    upkeep.turn(0.0, synced=True)
    upkeep.turn(CLOSE_GROUP_SECONDS, synced=False)
    upkeep.end()

    assert told == []


def test_at_the_end_the_next_start_is_left_little_to_read(recorder, upkeep, told, tmp_path):
    grow(recorder, AT_REST_BYTES + 1)
    done = recorder.ledger.counts["done"]

    upkeep.end()
    recorder.close()

    assert told == ["compacted"]
    again = Recorder(Paths.below(tmp_path, tmp_path / "state"), time.time, lambda _: 8)
    assert again.length_bytes < 1000
    assert again.ledger.counts["done"] == done
    again.close()
