import io
import json
import os
import pty
import re
import subprocess
import sys
import time
import tty

import pytest

from resumed.events import EVENTS
from resumed.log import EventLog, sentence
from resumed.settings import LogSettings

AT = 1_790_000_000.1204


@pytest.fixture
def lines(tmp_path):
    """Give a log that writes to a file, and what the file holds so far."""

    def lines(*, quiet=False, environ=None, **settings):
        stream = (tmp_path / "log").open("w")
        streams.append(stream)
        log = EventLog(
            LogSettings(**settings), stream, quiet=quiet, environ=environ or {}, now=lambda: AT
        )
        return log, lambda: (tmp_path / "log").read_text().splitlines()

    streams = []
    yield lines
    for stream in streams:
        stream.close()


def test_outside_a_terminal_each_event_is_one_json_object(lines):
    log, read = lines()

    log.event("done", id="1-2", name="日\n\udcff.pdf", attempt=2, seconds=0.25, result={"x": 1})

    (line,) = read()
    assert line.isascii()
    assert json.loads(line) == {
        "time": "2026-09-21T14:13:20.120Z",
        "level": "info",
        "event": "done",
        "message": r"日\n\udcff.pdf: done in 0.250 s",
        "id": "1-2",
        "name": "日\n\udcff.pdf",
        "attempt": 2,
        "seconds": 0.25,
    }
    assert list(json.loads(line))[:4] == ["time", "level", "event", "message"]


def test_an_error_keeps_its_parts_and_any_object_is_written(lines, tmp_path):
    log, read = lines()

    log.event("failed", name="a", error={"kind": "exit 3", "text": "no"}, output="x\ny")
    log.event("ready", inbox=tmp_path)

    failed, ready = map(json.loads, read())
    assert failed["message"] == "a: failed for good: exit 3: no"
    assert failed["error"] == {"kind": "exit 3", "text": "no"}
    assert failed["output"] == "x\ny"
    assert ready["inbox"] == str(tmp_path)


def test_events_below_the_level_are_not_written(lines):
    log, read = lines(level="warning")

    log.event("done", name="a", seconds=1)
    log.event("paused")

    assert [json.loads(line)["event"] for line in read()] == ["paused"]


def test_a_quiet_log_keeps_to_what_a_person_should_act_on(lines):
    log, read = lines(quiet=True, level="debug")

    log.event("started", name="a", attempt=1)
    log.event("failed", name="a", error="x")

    assert [json.loads(line)["event"] for line in read()] == ["failed"]


def test_text_lines_have_the_date_and_no_colour(lines):
    log, read = lines(format="text")

    log.event("done", name="a\x1b[31m", seconds=0.3)

    (line,) = read()
    assert re.fullmatch(r"2026-09-2\d \d\d:13:20 done     a\\x1b\[31m: done in 0\.300 s", line)


def test_every_sentence_can_be_filled_or_shows_what_is_missing():
    for event in EVENTS.values():
        assert "{" not in sentence(event, {})

    assert sentence(EVENTS["done"], {"name": "a"}) == "a: done in ? s"
    assert sentence(EVENTS["done"], {"name": "a", "seconds": None}) == "a: done in ? s"


def test_a_delay_is_told_as_people_write_it_and_long_words_are_cut():
    fields = {"name": "a", "attempt": 1, "delay": 80.0, "error": {"kind": "K", "text": ""}}

    assert sentence(EVENTS["waiting"], fields) == "a: attempt 1 failed, next in 1min 20s: K"
    assert len(sentence(EVENTS["intake_paused"], {"why": "x" * 9999})) < 600


def test_an_event_that_no_table_knows_is_written_all_the_same(lines):
    log, read = lines()

    log.event("surprise", name="a")

    assert json.loads(read()[0])["message"] == "surprise"


@pytest.fixture
def terminal():
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    with open(theirs, "w", encoding="utf-8") as stream:
        yield stream, lambda: os.read(ours, 5000).decode()
    os.close(ours)


@pytest.mark.parametrize(
    ("environ", "colour"),
    [({"TERM": "xterm"}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
)
def test_on_a_terminal_lines_are_readable(terminal, environ, colour):
    stream, read = terminal
    log = EventLog(LogSettings(), stream, environ=environ, now=lambda: AT)

    log.event("done", name="日.pdf", seconds=0.3)

    word = "\x1b[32mdone    \x1b[0m" if colour else "done    "
    assert read()[2:] == f":13:20 {word} 日.pdf: done in 0.300 s\n"


def test_a_terminal_that_lacks_a_character_gets_an_escape(tmp_path):
    with (tmp_path / "log").open("w", encoding="ascii") as stream:
        EventLog(LogSettings(format="text"), stream, environ={}).event("gone", name="é", why="x")

    assert r"\xe9: its file was taken away" in (tmp_path / "log").read_text()


def test_a_closed_stream_is_no_error():
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w", encoding="utf-8") as stream:
        log = EventLog(LogSettings(), stream, environ={})
        log.event("paused")
        log.event("paused")

    log.event("paused")


def test_a_full_disk_is_no_error():
    with open("/dev/full", "w", encoding="utf-8") as stream:
        EventLog(LogSettings(), stream, environ={}).event("paused")


def test_a_stream_without_a_descriptor_will_do():
    stream = io.StringIO()
    log = EventLog(LogSettings(), stream, environ={})

    log.event("paused")
    text = stream.getvalue()
    stream.close()
    log.event("paused")

    assert json.loads(text)["event"] == "paused"


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_reader_that_stopped_reading_is_waited_for_once_and_told_what_it_missed(form):
    reading, writing = os.pipe()
    with open(writing, "w", encoding="utf-8") as stream, open(reading, "rb") as pipe:
        os.set_blocking(reading, False)
        log = EventLog(LogSettings(format=form), stream, environ={})
        began = time.monotonic()
        for _ in range(5000):
            log.event("paused")
        took = time.monotonic() - began
        written = pipe.read()
        log.event("paused")
        after = pipe.read().splitlines()

    assert took < 30
    assert len(after) == 2
    dropped = 5000 - written.count(b"\n")
    assert str(dropped).encode() in after[0]
    if form == "json":
        assert json.loads(after[0])["lines"] == dropped


def test_a_log_costs_little(lines):
    log, _ = lines()
    best = 1.0

    for _ in range(20):
        began = time.perf_counter()
        for _ in range(50):
            log.event("done", id="019a3c5d7e2-0123456789", name="a.pdf", attempt=1, seconds=0.1)
        best = min(best, (time.perf_counter() - began) / 50)

    assert best < 0.0005


def test_a_terminal_s_log_loads_no_logging():
    program = """
import sys, io
from resumed.log import EventLog
from resumed.settings import LogSettings
EventLog(LogSettings(format="text"), sys.stderr).event("paused")
sys.exit("logging" in sys.modules)
"""

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
