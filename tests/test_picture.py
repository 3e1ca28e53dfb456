import itertools
from dataclasses import replace

import pytest

from resumed.alive import Life
from resumed.glance import Glance, Inbox
from resumed.ledger import Ledger
from resumed.model import NOTHING_READ
from resumed.pace import Pace
from resumed.picture import Picture, how_far
from resumed.view import View

NOW = 1763812800.0
PACE = Pace(0, 0, 0, (0,) * 24, whole=True)


@pytest.fixture
def ledger():
    return Ledger()


@pytest.fixture
def draw(ledger):
    def picture(*, life=Life("up", None, NOW), inbox=None, now=None, steps=None):  # noqa: B008
        hints = {"now": now or {}, "steps": steps or {}}
        seen = Glance(NOW, life, View(ledger, None), inbox or Inbox(), hints, PACE)
        return Picture(seen, (5 << 30, 10 << 30))

    return picture


def add(ledger, state, count=1):
    for number in itertools.islice(itertools.count(len(ledger.items)), count):
        about = {"id": f"i{number}", "name": f"n{number}\x1b", "at": NOW - 60}
        identity = {"inode": number, "size": 1, "mtime_ns": 1, "owner": 0}
        ledger.apply({"kind": "claimed", **about, **identity})
        if state == "running":
            ledger.apply({"kind": "started", "attempt": 1, **about})
        if state == "waiting":
            error = {"kind": "x", "text": ""}
            ledger.apply(
                {"kind": "waiting", "attempt": 1, "step": "s", "error": error, "delay": 90, **about}
            )


def text(picture):
    return "\n".join(picture.lines("resumed-ctl"))


def test_a_well_one_says_so_and_what_disk_is_left(draw):
    told = text(draw())

    assert told.startswith("health   well\ndaemon   up\n")
    assert "disk     5 GiB free of 10 GiB" in told
    assert "ever     nothing ended yet" in told


def test_one_that_hangs_says_for_how_long_and_what_helps(draw):
    told = text(draw(life=Life("hung", 7, NOW - 300)))

    assert "hangs: its loop has not turned for 5min, process 7" in told
    assert "systemd restarts it" in told


def test_a_paused_intake_says_why(draw):
    picture = draw(now={"intake_paused": "the disk is\x1b full"})

    assert picture.troubles() == ["intake paused: the disk is\\x1b full"]
    assert "goes on by itself" in text(picture)
    assert not picture.document()["healthy"]


def test_what_a_dead_daemon_told_is_not_believed(draw):
    picture = draw(life=Life("down", None, NOW - 5), now={"intake_paused": "the disk is full"})

    assert picture.document()["intake_paused"] is None
    assert picture.troubles() == [f"the daemon is not running since {picture_time(NOW - 5)}"]


def test_after_a_drain_nobody_misses_a_daemon(draw):
    picture = draw(life=Life("down", None, NOW - 5), now={"drained_at": NOW - 5})

    assert picture.troubles() == []
    assert f"none; the last drain ended at {picture_time(NOW - 5)}" in text(picture)
    assert picture.document()["daemon"]["drained_at"]


def test_what_an_earlier_drain_left_is_not_told_of_a_daemon_that_lives(draw):
    assert draw(now={"drained_at": NOW - 5}).document()["daemon"]["drained_at"] is None


def picture_time(at):
    from resumed.listing import clock

    return clock(at, NOW)


def test_a_step_that_is_recorded_is_not_the_one_that_runs(draw, ledger):
    add(ledger, "running")
    ledger.apply({"kind": "stepped", "id": "i0", "step": "mark", "result": 1, "at": NOW})

    told = text(draw(steps={("i0", 1): {"step": "mark", "worker": 42}}))

    assert "attempt 1, for 1min (worker 42)" in told


def test_what_starts_a_daemon_again_is_said(draw, ledger):
    ledger.apply({"kind": "opened", "counts": {}})
    seen = draw(life=Life("down", None, NOW - 300))
    seen.glance = replace(seen.glance, view=View(ledger, NOTHING_READ))
    hung = draw(life=Life("hung", 7, NOW - 300))

    assert "'systemctl start resumed' goes on where it ended" in text(seen)
    assert "'resumed run --home x' goes on" in "\n".join(seen.lines("resumed-ctl --home x"))
    assert "else 'kill -9 7', then 'resumed run --home x'" in "\n".join(
        hung.lines("resumed-ctl --home x")
    )


def test_running_items_tell_step_progress_and_worker(draw, ledger):
    add(ledger, "running")
    steps = {("i0", 1): {"step": "mark", "worker": 42}}

    told = text(draw(now={"progress": {"i0": [1, 4]}}, steps=steps))

    assert "n0\\x1b  attempt 1, for 1min in step mark, 25 % (worker 42)" in told


def test_what_waits_says_when_and_only_a_few_are_shown(draw, ledger):
    add(ledger, "waiting", 12)

    told = text(draw())

    assert "attempt 2 in 30s" in told
    assert "and 2 more: 'resumed-ctl ls --state waiting'" in told


def test_the_oldest_that_was_not_begun_is_told(draw, ledger):
    add(ledger, "pending")

    assert "oldest   taken 1min ago and not begun" in text(draw())


@pytest.mark.parametrize(
    ("progress", "told"),
    [
        ([1, 4], ", 25 %"),
        ([3, None], ", 3 so far"),
        ([3, 0], ", 3 so far"),
        (None, ""),
        ("half", ""),
    ],
)
def test_progress_is_a_share_where_the_whole_is_known(progress, told):
    assert how_far(progress) == told
