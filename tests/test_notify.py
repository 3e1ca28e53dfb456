import os
import select
import socket
import threading
import time

import pytest

from resumed.notify import STATUS_LIMIT, Notifier


@pytest.fixture
def systemd(tmp_path, monkeypatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield listening


@pytest.fixture
def notifier(systemd):  # noqa: ARG001 - its socket must be there first
    notifier = Notifier()
    yield notifier
    notifier.close()


def test_each_message_is_what_sd_notify_specifies(systemd, notifier):
    notifier.ready()
    notifier.alive()
    notifier.stopping()
    notifier.extend(30)
    notifier.status("Idle; 3 waiting")

    assert [systemd.recv(500) for _ in range(5)] == [
        b"READY=1",
        b"WATCHDOG=1",
        b"STOPPING=1",
        b"EXTEND_TIMEOUT_USEC=30000000",
        b"STATUS=Idle; 3 waiting",
    ]


def test_a_reload_carries_the_monotonic_time(systemd, notifier):
    before = time.monotonic_ns() // 1000

    notifier.reloading()

    first, second = systemd.recv(500).decode().split("\n")
    assert first == "RELOADING=1"
    assert before <= int(second.removeprefix("MONOTONIC_USEC=")) <= time.monotonic_ns() // 1000


@pytest.mark.parametrize(
    ("sentence", "sent"),
    [
        ("Running 日本.txt → …", "STATUS=Running 日本.txt → …"),
        ("café", "STATUS=café"),
        ("a\nSTOPPING=1", r"STATUS=a\nSTOPPING=1"),
        ("bad\udcff\x1b[31m", r"STATUS=bad\udcff\x1b[31m"),
    ],
)
def test_no_name_can_drop_or_inject_a_message(systemd, notifier, sentence, sent):
    notifier.status(sentence)

    assert systemd.recv(5000).decode("utf-8") == sent


def test_a_status_is_short(systemd, notifier):
    notifier.status("日" * 5000)

    assert len(systemd.recv(5000).decode()) == len("STATUS=") + STATUS_LIMIT


def test_outside_systemd_nothing_happens():
    notifier = Notifier({"WATCHDOG_USEC": "1000000"})

    notifier.ready()
    notifier.close()

    assert notifier.watchdog_seconds is None


def test_a_systemd_that_went_away_is_no_error(systemd, notifier):
    systemd.close()

    notifier.alive()
    notifier.close()
    notifier.alive()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_socket_that_is_not_there_is_no_error(tmp_path, monkeypatch):
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "absent"))

    notifier = Notifier()
    notifier.ready()
    notifier.close()


def test_a_systemd_that_reads_nothing_does_not_hang_the_daemon(notifier):
    began = time.monotonic()

    while time.monotonic() - began < 1:
        notifier.alive()

    assert time.monotonic() - began < 60


def fill(notifier):
    """Send until systemd has no room for more."""
    while notifier.status("so and so"):
        pass


def test_a_status_never_waits_and_says_when_there_was_no_room(systemd, notifier):
    began = time.monotonic()
    fill(notifier)

    assert not notifier.status("another")
    assert time.monotonic() - began < 1

    while systemd.recv(500) and select.select([systemd], [], [], 0)[0]:
        pass
    assert notifier.status("another")
    assert systemd.recv(500) == b"STATUS=another"


def test_what_systemd_acts_on_waits_for_room(systemd, notifier):
    fill(notifier)
    reading = threading.Timer(0.1, systemd.recv, [500])
    reading.start()

    notifier.ready()

    reading.join()
    heard = []
    while select.select([systemd], [], [], 0)[0]:
        heard.append(systemd.recv(500))
    assert heard[-1] == b"READY=1"


def watchdog(**environ):
    return Notifier(environ).watchdog_seconds


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_watchdog_is_wanted_only_of_this_process():
    ours, other = str(os.getpid()), str(os.getpid() + 1)

    assert watchdog(NOTIFY_SOCKET="/x", WATCHDOG_USEC="3000000") == 3
    assert watchdog(NOTIFY_SOCKET="/x", WATCHDOG_USEC="500000", WATCHDOG_PID=ours) == 0.5
    assert watchdog(NOTIFY_SOCKET="/x", WATCHDOG_USEC="500000", WATCHDOG_PID=other) is None
    assert watchdog(NOTIFY_SOCKET="/x", WATCHDOG_USEC="0") is None
    assert watchdog(NOTIFY_SOCKET="/x", WATCHDOG_USEC="soon") is None
    assert watchdog(NOTIFY_SOCKET="/x") is None
    assert watchdog(WATCHDOG_USEC="3000000") is None
