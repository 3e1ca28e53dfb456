"""Stop the daemon politely in the middle of things: nothing is lost and nothing is charged."""

import json
import time

import pytest

SLOW = """
import os, time


def process(item):
    log = os.open(os.environ["ORACLE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(log, b"begun ")
    time.sleep(2)
    os.write(log, b"ended ")
"""

BUSY = """
from resumed import TransientError


def process(item):
    raise TransientError("busy")
"""

WAITS_INSIDE = """
import os
from resumed import retry


def process(item):
    ask()


@retry(attempts=3, base=60, exceptions=(ConnectionError,))
def ask():
    log = os.open(os.environ["ORACLE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(log, b"asked ")
    raise ConnectionError("nobody there")
"""


@pytest.fixture
def oracle(tmp_path, monkeypatch):
    monkeypatch.setenv("ORACLE", str(tmp_path / "oracle"))
    (tmp_path / "oracle").touch()
    return tmp_path / "oracle"


def test_a_stop_lets_the_running_item_finish(home, daemon, oracle, wait_until):
    home.configure('handler = "handler:process"\nsettle = 0\n', handler=SLOW)
    running = daemon()
    (home.inbox / "slow").write_text("text")
    wait_until(lambda: oracle.read_text() == "begun ")

    status = running.stop()

    assert status == 0
    assert "STOPPING=1" in running.told()
    assert oracle.read_text() == "begun ended "
    assert home.names("done") == ["slow"]
    assert [each["attempt"] for each in home.records("started")] == [1]
    assert len(home.records("done")) == 1
    assert daemon().stop() == 0
    assert oracle.read_text() == "begun ended "


def test_a_second_signal_interrupts_at_once_and_does_not_count(home, daemon, oracle, wait_until):
    home.configure(
        'handler = "handler:process"\nsettle = 0\n', handler=SLOW.replace("sleep(2)", "sleep(60)")
    )
    running = daemon()
    (home.inbox / "slow").write_text("text")
    wait_until(lambda: oracle.read_text() == "begun ")

    running.signal(15)
    wait_until(lambda: "STOPPING=1" in running.told())
    status = running.stop(10)

    assert status == 0
    assert [each["attempt"] for each in home.records("interrupted")] == [1]
    assert home.records("failed") == home.records("crashed") == home.records("waiting") == []


def test_a_backoff_outlives_a_stop_unchanged(home, daemon, ctl, wait_until):
    home.configure(
        'handler = "handler:process"\nsettle = 0\n[retry]\ninitial = "5min"\njitter = 0\n',
        handler=BUSY,
    )
    running = daemon()
    (home.inbox / "busy").write_text("text")
    wait_until(lambda: home.records("waiting"))
    before = told_of_waiting(home, ctl)

    asked_at = time.monotonic()
    assert running.stop() == 0
    assert time.monotonic() - asked_at < 10
    running = daemon()

    assert told_of_waiting(home, ctl) == before
    assert running.stop() == 0
    assert told_of_waiting(home, ctl) == before
    assert not home.records("failed")


def told_of_waiting(home, ctl):
    """Return what the journal and ctl say of the one item that waits."""
    shown = [json.loads(line) for line in ctl("show", "busy", "--json").stdout.splitlines()]
    record = home.records("waiting")[-1]
    return shown, {key: record[key] for key in ("id", "attempt", "delay")}


def test_a_wait_inside_a_handler_ends_at_a_stop_and_burns_nothing(home, daemon, oracle, wait_until):
    home.configure('handler = "handler:process"\nsettle = 0\n', handler=WAITS_INSIDE)
    running = daemon()
    (home.inbox / "asks").write_text("text")
    wait_until(lambda: oracle.read_text() == "asked ")

    status = running.stop(15)

    assert status == 0
    assert oracle.read_text() == "asked "
    assert [each["attempt"] for each in home.records("interrupted")] == [1]
    assert not home.records("waiting")
    assert not home.records("failed")
