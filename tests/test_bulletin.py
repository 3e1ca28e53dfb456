"""What systemd and whoever looks are told of the moment."""

import json
import random
import socket
import time

import pytest

from resumed import config, parts
from resumed.bulletin import SECONDS, Bulletin
from resumed.engine import Engine
from resumed.notify import Notifier


@pytest.fixture
def engine(home):
    settings = config.load(None, home=home.path)
    parts.make_folders(settings.paths)
    bits = random.Random(1).getrandbits
    engine = Engine(settings, lambda *_, **__: None, parts.Clocks(time.time, time.monotonic, bits))
    yield engine
    engine.close()


@pytest.fixture
def systemd(tmp_path, monkeypatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield listening


@pytest.fixture
def notifier(systemd):  # noqa: ARG001 - its socket must be there first
    notifier = Notifier()
    yield notifier
    notifier.close()


@pytest.fixture
def show(engine, home, notifier):
    bulletin = Bulletin(home.state, notifier)
    yield lambda now, next_scan=500.0: bulletin.show(
        engine, now, watching=True, next_scan=next_scan
    )
    bulletin.close()


def heard(systemd):
    messages = []
    while True:
        try:
            messages.append(systemd.recv(500).decode())
        except BlockingIOError:
            return messages


def test_the_moment_is_shown_at_most_once_a_second_and_only_when_it_changed(show, systemd, engine):
    assert show(100.0) is None
    assert heard(systemd) == ["STATUS=0 running, 0 to go, 0 waiting"]
    engine.schedule.add("1", "a")

    assert show(100.5) == 100.0 + SECONDS
    assert heard(systemd) == []
    assert show(100.0 + SECONDS) is None
    assert heard(systemd) == ["STATUS=0 running, 1 to go, 0 waiting"]
    assert show(200.0) is None
    assert heard(systemd) == []


def test_nobody_comes_again_for_what_was_shown_already(show, engine):
    assert show(100.0) is None

    assert show(100.1) is None
    assert show(100.1, next_scan=560.0) == 100.0 + SECONDS
    engine.runner.progress["1"] = (3, 10)
    assert show(100.1) == 100.0 + SECONDS


@pytest.mark.parametrize("who", ["a person", "the surroundings"])
def test_a_pause_comes_first(show, systemd, engine, who):
    if who == "a person":
        engine.recorder.record("paused", by="request")
    else:
        engine.space.broken("no space", 0.0)

    show(100.0)

    [said] = heard(systemd)
    why = "intake paused by request; " if who == "a person" else "intake paused: no space; "
    assert said.startswith(f"STATUS={why}")


def test_what_systemd_had_no_room_for_is_said_again(show, systemd, notifier):
    while notifier.status("so and so"):
        pass

    due = show(100.0)
    assert due == 100.0 + SECONDS
    heard(systemd)
    assert show(due) is None

    assert heard(systemd) == ["STATUS=0 running, 0 to go, 0 waiting"]


def test_whoever_looks_finds_more_than_systemd_is_told(show, home, engine):
    engine.runner.progress["019a"] = (3, 10)

    show(100.0)

    told = json.loads((home.state / "now.json").read_text())
    assert told["progress"] == {"019a": [3, 10]}
    assert told["watching"] is True
    assert told["intake_paused"] is None
