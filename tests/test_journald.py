import os
import socket
import struct
import time

import pytest

from resumed import journald, log
from resumed.events import EVENTS
from resumed.log import EventLog
from resumed.settings import LogSettings


def decode(entry):
    """Read one datagram as journald does."""
    fields = {}
    while entry:
        line, _, rest = entry.partition(b"\n")
        if b"=" in line:
            key, _, value = line.partition(b"=")
            entry = rest
        else:
            key, (length,) = line, struct.unpack("<Q", rest[:8])
            value, entry = rest[8 : 8 + length], rest[8 + length + 1 :]
        fields[key.decode()] = value
    return fields


@pytest.fixture
def systemd(tmp_path):
    """Stand in for journald: its socket, and the stream that standard error goes to."""
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(path))
        listening.settimeout(5)
        yield listening


@pytest.fixture
def event_log(tmp_path):
    with (tmp_path / "stderr").open("w") as stream:
        status = os.fstat(stream.fileno())
        environ = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}

        def event_log(**settings):
            return EventLog(
                LogSettings(**settings),
                stream,
                environ=environ,
                journal_socket=tmp_path / "socket",
            )

        yield event_log


def test_an_event_is_an_entry_with_fields_to_match(systemd, event_log):
    event_log().event(
        "failed",
        id="1-2",
        name="日\n\udcff=.pdf",
        attempt=2,
        step=None,
        error={"kind": "exit 3", "text": "no"},
        output="Traceback\n  line",
    )

    assert decode(systemd.recv(9999)) == {
        "PRIORITY": b"3",
        "SYSLOG_IDENTIFIER": b"resumed",
        "RESUMED_EVENT": b"failed",
        "MESSAGE_ID": EVENTS["failed"].message_id.encode(),
        "RESUMED_ID": b"1-2",
        "RESUMED_ITEM": "日\n".encode() + b"\xff=.pdf",
        "RESUMED_ATTEMPT": b"2",
        "RESUMED_ERROR": b"exit 3: no",
        "MESSAGE": r"日\n\udcff=.pdf: failed for good: exit 3: no".encode()
        + b"\nTraceback\n  line",
    }


def test_an_event_without_output_is_its_sentence(systemd, event_log):
    event_log().event("paused")

    assert decode(systemd.recv(9999))["MESSAGE"] == b"intake paused by request"


def test_a_journald_that_is_absent_gets_lines_and_later_entries_again(systemd, event_log, tmp_path):
    path = systemd.getsockname()
    written = event_log()

    systemd.close()
    os.unlink(path)
    written.event("failed", name="a", error="x")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as again:
        again.bind(path)
        again.settimeout(5)
        written.event("paused")
        entry = decode(again.recv(9999))

    assert (tmp_path / "stderr").read_text() == "<3>failed   a: failed for good: x\n"
    assert entry["RESUMED_EVENT"] == b"paused"


def test_a_journald_that_hangs_is_waited_for_once(systemd, event_log, tmp_path):
    hung = event_log()
    began = time.monotonic()

    for _ in range(2000):
        hung.event("paused")

    assert time.monotonic() - began < 20
    assert (tmp_path / "stderr").read_text().count("<4>paused ") > 1000
    assert decode(systemd.recv(9999))["RESUMED_EVENT"] == b"paused"


def test_json_on_request_still_has_its_priority(event_log, tmp_path):
    event_log(format="json").event("paused")

    assert (tmp_path / "stderr").read_text().startswith('<4>{"time": ')


def test_a_name_that_no_file_can_have_is_escaped():
    assert decode(journald.encode({"A": "\ud800"})) == {"A": rb"\ud800"}


def test_an_entry_is_never_too_long_to_send(systemd, tmp_path):
    fields = {"A": "x", "MESSAGE": "y\n" * 500_000, "B": "z"}

    assert journald.send(fields, tmp_path / "socket")
    entry = systemd.recv(1_000_000)

    assert len(entry) <= journald.LIMIT_BYTES + 30
    assert decode(entry)["A"] == b"x"


def test_an_entry_that_nobody_takes_is_told_so(tmp_path):
    assert not journald.send({"A": "x"}, tmp_path / "socket")


def test_only_the_very_stream_of_the_journal_counts(tmp_path):
    with (tmp_path / "x").open("w") as stream:
        fd = stream.fileno()
        status = os.fstat(fd)
        stream_of = f"{status.st_dev}:{status.st_ino}"
        assert journald.is_behind(fd, {"JOURNAL_STREAM": stream_of})
        assert not journald.is_behind(fd, {"JOURNAL_STREAM": "1:2"})
        assert not journald.is_behind(fd, {})
    assert not journald.is_behind(fd, {"JOURNAL_STREAM": stream_of})


def test_fields_are_named_after_what_they_hold():
    assert log._journal_field("name") == "RESUMED_ITEM"
    assert log._journal_field("attempt") == "RESUMED_ATTEMPT"
