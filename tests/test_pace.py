import itertools

import pytest

from resumed import pace
from resumed.paths import Paths
from resumed.recorder import Recorder

AT = 1763812800.0 + 7200


@pytest.fixture
def paths(tmp_path):
    made = Paths.below(tmp_path, tmp_path / "state")
    made.history.mkdir(parents=True)
    return made


@pytest.fixture
def clock():
    return [AT]


@pytest.fixture
def recorder(paths, clock):
    bits = itertools.count(1)
    made = Recorder(paths, lambda: clock[0], lambda _: next(bits))
    yield made
    made._journal.close()


def end(recorder, clock, at, name="a"):
    clock[0] = at
    item_id = f"{int(at * 1000):011x}-{hash(name) & 0xFFFFFFFFFF:010x}"
    recorder.record("claimed", id=item_id, name=name, inode=1, size=1, mtime_ns=1, owner=0)
    recorder.record("done", id=item_id, attempt=1, result=None, seconds=0)
    recorder.record("put_away", id=item_id, **{"as": name})
    recorder.commit()


def test_endings_are_counted_by_age(recorder, paths, clock):
    for age in (100_000, 80_000, 4000, 1000, 30, 10):
        end(recorder, clock, AT - age, str(age))

    seen = pace.measure(paths, AT)

    assert (seen.minute, seen.hour, seen.day) == (2, 3, 5)
    assert sum(seen.hours) == 5
    assert seen.hours[-1] == 3
    assert seen.whole


def test_what_moved_into_the_history_counts_once(recorder, paths, clock):
    for age in (80_000, 1000, 10):
        end(recorder, clock, AT - age, str(age))
    before = pace.measure(paths, AT)
    recorder.compact()
    kept = {path: path.read_bytes() for path in paths.history.iterdir()}
    for path, content in kept.items():
        path.write_bytes(content * 2)

    assert pace.measure(paths, AT) == before


def test_more_than_can_be_read_is_said_to_be_counted_in_part(recorder, paths, clock, monkeypatch):
    monkeypatch.setattr(pace, "READ_BYTES", 600)
    for age in range(50, 0, -1):
        end(recorder, clock, AT - age, str(age))

    seen = pace.measure(paths, AT)

    assert 0 < seen.minute < 50
    assert not seen.whole


@pytest.mark.parametrize(
    ("counts", "drawn"), [((), ""), ((0, 0), ""), ((0, 1, 1000), " ▁█"), ((4, 8), "▄█")]
)
def test_a_sparkline_shows_even_the_smallest(counts, drawn):
    assert pace.sparkline(counts) == drawn
