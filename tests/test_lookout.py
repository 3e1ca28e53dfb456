"""The folder or the listener breaks; it is told once, and mended when that is possible."""

import errno
import logging
import random
import time

import pytest
from watchdog.observers.inotify import InotifyObserver

from resumed import config, parts
from resumed.engine import Engine
from resumed.lookout import Lookout


@pytest.fixture
def engine(home):
    settings = config.load(None, home=home.path)
    parts.make_folders(settings.paths)
    bits = random.Random(1).getrandbits
    engine = Engine(settings, lambda *_, **__: None, parts.Clocks(time.time, time.monotonic, bits))
    yield engine
    engine.close()


@pytest.fixture
def told():
    return []


@pytest.fixture
def lookout(engine, told):
    lookout = Lookout(
        engine.config,
        parts.rules(engine.config),
        tell=lambda event, **about: told.append((event, about)),
        wake=lambda: None,
    )
    yield lookout
    lookout.close()


@pytest.fixture
def no_watches(monkeypatch):
    """Let the kernel grant no watch, as when the limit of a user is used up."""

    def start(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    def begin():
        monkeypatch.setattr(InotifyObserver, "start", start)

    return begin


def names(engine):
    return [each.name for each in engine.intake.not_ready()]


def test_a_folder_that_can_be_watched_is_nothing_to_tell_of(lookout, told):
    assert not lookout.watching

    lookout.listen()

    assert lookout.watching
    assert told == []


def test_what_cannot_be_watched_is_told_once_with_the_remedy(lookout, told, no_watches, home):
    no_watches()

    lookout.listen()
    lookout.listen()

    [(event, about)] = told
    assert event == "watch_lost"
    assert about["inbox"] == str(home.inbox)
    assert about["seconds"] == 60.0
    assert "fs.inotify.max_user_watches" in about["why"]
    assert not lookout.watching


def test_a_watch_that_can_be_had_again_is_had_at_the_next_rescan(
    lookout, told, engine, no_watches, monkeypatch
):
    no_watches()
    lookout.listen()
    monkeypatch.undo()

    lookout.mend(engine)

    assert [event for event, _ in told] == ["watch_lost", "watch_restored"]
    assert lookout.watching


def test_a_healthy_watch_is_left_as_it_is(lookout, told, engine):
    lookout.listen()
    before = lookout._watch._observer

    lookout.mend(engine)

    assert lookout._watch._observer is before
    assert told == []


def test_an_inbox_that_was_replaced_is_watched_and_what_was_seen_forgotten(
    lookout, engine, home, wait_until
):
    lookout.listen()
    (home.inbox / "old").write_text("text")
    engine.intake.hint(["old"], (), 0.0)
    engine.intake.turn(0.0, 1)
    assert names(engine) == ["old"]
    home.inbox.rename(home.path / "moved")
    home.inbox.mkdir()

    lookout.mend(engine)

    assert names(engine) == []
    assert engine.intake.scanning
    lookout.take()
    (home.inbox / "new").write_text("text")
    wait_until(lambda: "new" in lookout.take().names)


def test_nobody_listens_who_was_not_asked_to(lookout, engine, home):
    """A drain scans; a watch would only be in its way."""
    home.inbox.rename(home.path / "moved")
    home.inbox.mkdir()

    lookout.mend(engine)

    assert not lookout.watching
    assert lookout._watch._observer is None


def test_an_overflow_is_told(lookout, told):
    lookout.listen()
    logging.getLogger("watchdog").warning("inotify queue overflow")

    hints = lookout.take()

    assert hints.scan
    assert told == [("overflow", {})]


def test_what_watchdog_complains_of_is_told(lookout, told):
    lookout.listen()
    logging.getLogger("watchdog").error("a thread died")

    assert lookout.take().scan
    assert [(event, about["why"]) for event, about in told] == [("watch_lost", "a thread died")]
