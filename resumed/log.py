"""Write one line for each change of state, in the form that fits whoever reads it.

On a terminal that is a readable line, in the system's journal an entry with fields
(`resumed.journald`), anywhere else one JSON object a line, pure ASCII, for example:

    {"time": "2026-11-22T12:45:02.120Z", "level": "info", "event": "done",
     "message": "invoice.pdf: done in 0.300 s", "name": "invoice.pdf", "id": "...", ...}

The table of `resumed.events` gives each event its level and its sentence. A log must never
harm the work that it tells of: lines that cannot be written are dropped, and a reader that
has stopped reading is waited for once, then counted against.
"""

import io
import os
import select
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from resumed import journald, text
from resumed.events import DEBUG, ERROR, EVENTS, INFO, WARNING, Event
from resumed.settings import LogSettings

if TYPE_CHECKING:
    import logging

_LEVELS = {"debug": DEBUG, "info": INFO, "warning": WARNING, "error": ERROR}
_LEVEL_NAMES = {level: name for name, level in _LEVELS.items()}
_PRIORITIES = {DEBUG: 7, INFO: 6, WARNING: 4, ERROR: 3}
_COLOURS = {DEBUG: "2", INFO: "32", WARNING: "33", ERROR: "31"}
_LONGEST_VALUE = 500
_PATIENCE_MILLISECONDS = 1000
# A result may be large and has its place in the journal.
_UNTOLD = frozenset({"result"})


class _Form(Protocol):
    def write(self, name: str, event: Event, message: str, fields: Mapping[str, object]) -> None:
        """Write one event whose *message* is already harmless."""
        ...


class EventLog:
    """The log of one run; *quiet* keeps to what a person should act on."""

    def __init__(  # noqa: PLR0913 - the surroundings, each with its default
        self,
        settings: LogSettings,
        stream: TextIO,
        *,
        quiet: bool = False,
        environ: Mapping[str, str] = os.environ,
        now: Callable[[], float] = time.time,
        journal_socket: Path = journald.SOCKET,
    ) -> None:
        self._threshold = max(_LEVELS[settings.level], WARNING if quiet else DEBUG)
        outlet = _Outlet(stream)
        behind = outlet.fd is not None and journald.is_behind(outlet.fd, environ)
        if settings.format == "auto" and behind:
            lines = _Lines(outlet, now, clock="", priorities=True)
            self._form: _Form = _Native(journal_socket, otherwise=lines)
        elif settings.format == "text" or (settings.format == "auto" and stream.isatty()):
            self._form = _lines(outlet, now, stream, environ, behind=behind)
        else:
            self._form = _Json(outlet, now, priorities=behind)

    def event(self, name: str, /, **fields: object) -> None:
        """Write the event *name*, if it is important enough; never fails.

        An item's own name is the field ``name``. Only what is durable may be told.
        """
        # to miss an event in the table is a fault, but none to stop the work for
        event = EVENTS.get(name) or Event(WARNING, name)
        if event.level < self._threshold:
            return
        told = {key: value for key, value in fields.items() if key not in _UNTOLD}
        self._form.write(name, event, sentence(event, told), told)


def sentence(event: Event, fields: Mapping[str, object]) -> str:
    """Fill the sentence of *event* with values made fit for one line of a terminal."""
    shown = _Shown((key, _show(key, value)) for key, value in fields.items())
    return event.sentence.format_map(shown)


class _Shown(dict[str, object]):
    def __missing__(self, key: str) -> object:
        return _Unknown()


class _Unknown:
    """What a sentence shows for a field that was not given, whatever the format."""

    def __format__(self, specification: str) -> str:
        return "?"


def _show(key: str, value: object) -> object:
    match value:
        case bool() | int() | float():
            return text.duration(value) if key == "delay" else value
        case {"kind": kind, "text": words}:
            value = f"{kind}: {words}" if words else kind
        case None:
            return _Unknown()
        case _:
            pass
    return text.escape(text.shorten(str(value), _LONGEST_VALUE))


def _lines(
    outlet: "_Outlet",
    now: Callable[[], float],
    stream: TextIO,
    environ: Mapping[str, str],
    *,
    behind: bool,
) -> "_Lines":
    terminal = stream.isatty()
    return _Lines(
        outlet,
        now,
        clock="" if behind else "%H:%M:%S " if terminal else "%Y-%m-%d %H:%M:%S ",
        coloured=terminal and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb",
        priorities=behind,
    )


class _Lines:
    """Lines for a person, and for journald when its socket does not answer."""

    def __init__(
        self,
        outlet: "_Outlet",
        now: Callable[[], float],
        *,
        clock: str,
        coloured: bool = False,
        priorities: bool,
    ) -> None:
        self._outlet = outlet
        self._now = now
        self._clock = clock
        self._coloured = coloured
        self._priorities = priorities

    def write(self, name: str, event: Event, message: str, _: Mapping[str, object]) -> None:
        prefix = f"<{_PRIORITIES[event.level]}>" if self._priorities else ""
        clock = time.strftime(self._clock, time.localtime(self._now())) if self._clock else ""
        word = f"{name:<8}"
        if self._coloured:
            word = f"\x1b[{_COLOURS[event.level]}m{word}\x1b[0m"
        self._outlet.write(f"{prefix}{clock}{word} {message}\n")


class _Json:
    """Lines for a program; python-json-logger makes them."""

    def __init__(self, outlet: "_Outlet", now: Callable[[], float], *, priorities: bool) -> None:
        self._outlet = outlet
        self._now = now
        self._priorities = priorities
        self._formatter, self._record = _json_formatter()
        outlet.notice = '{"level": "warning", "event": "lines_dropped", "lines": %d}\n'

    def write(self, name: str, event: Event, message: str, fields: Mapping[str, object]) -> None:
        at = datetime.fromtimestamp(self._now(), UTC).isoformat(timespec="milliseconds")
        line: Any = {
            "time": at.replace("+00:00", "Z"),
            "level": _LEVEL_NAMES[event.level],
            "event": name,
            "message": message,
            **fields,
        }
        # all that the formatter is to say is in the message; one record will do for all
        self._record.msg = line
        prefix = f"<{_PRIORITIES[event.level]}>" if self._priorities else ""
        self._outlet.write(f"{prefix}{self._formatter.format(self._record)}\n")


def _json_formatter() -> tuple["logging.Formatter", "logging.LogRecord"]:
    import logging  # noqa: PLC0415 - not on a terminal

    try:
        from pythonjsonlogger.json import JsonFormatter  # noqa: PLC0415 - the same
    except ImportError:  # before 3.1
        from pythonjsonlogger.jsonlogger import (  # type: ignore[attr-defined]  # noqa: PLC0415
            JsonFormatter,
        )
    # the format gives these fields their order, the others follow
    formatter = JsonFormatter("%(time)s %(level)s %(event)s %(message)s")
    return formatter, logging.LogRecord("resumed", logging.INFO, "", 0, "", None, None)


class _Native:
    """Entries of the system's journal; lines where it does not take them."""

    def __init__(self, journal_socket: Path, *, otherwise: _Lines) -> None:
        self._socket = journal_socket
        self._patience_seconds = journald.PATIENCE_SECONDS
        self._otherwise = otherwise

    def write(self, name: str, event: Event, message: str, fields: Mapping[str, object]) -> None:
        entry = {
            "PRIORITY": str(_PRIORITIES[event.level]),
            "SYSLOG_IDENTIFIER": "resumed",
            "RESUMED_EVENT": name,
        }
        if event.message_id:
            entry["MESSAGE_ID"] = event.message_id
        for key, value in fields.items():
            if value is not None and key != "output":
                entry[_journal_field(key)] = _plain(value)
        output = fields.get("output")
        # the output, a traceback perhaps, is one entry with its sentence
        entry["MESSAGE"] = f"{message}\n{output}" if output else message
        taken = journald.send(entry, self._socket, patience_seconds=self._patience_seconds)
        # a journald that hangs is waited for once, not at every event
        self._patience_seconds = journald.PATIENCE_SECONDS if taken else 0.0
        if not taken:
            self._otherwise.write(name, event, message, fields)


def _journal_field(key: str) -> str:
    return "RESUMED_ITEM" if key == "name" else f"RESUMED_{key.upper()}"


def _plain(value: object) -> str:
    """Write a value as it is: what is in a field is matched, byte for byte."""
    if isinstance(value, dict) and value.keys() == {"kind", "text"}:
        return f"{value['kind']}: {value['text']}"
    return str(value)


class _Outlet:
    """The way out for lines, past Python's buffers, which raise again at exit."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._dropped = 0
        self._poll = select.poll()
        self.fd: int | None = None
        self.notice = "%d lines of the log were dropped: nobody read them\n"
        try:
            self.fd = stream.fileno()
            self._poll.register(self.fd, select.POLLOUT)
        except (io.UnsupportedOperation, ValueError):
            self.fd = None

    def write(self, line: str) -> None:
        """Write *line*, or drop it when nobody takes it."""
        try:
            if self.fd is None:
                self._stream.write(line)
            elif self._taken(self.fd):
                encoding = self._stream.encoding or "utf-8"
                _write_all(self.fd, line.encode(encoding, "backslashreplace"))
        except (OSError, ValueError):
            self._dropped += 1

    def _taken(self, fd: int) -> bool:
        """Tell whether a line can be written now, and how many could not be before."""
        patience = 0 if self._dropped else _PATIENCE_MILLISECONDS
        if not self._poll.poll(patience):
            self._dropped += 1
            return False
        dropped, self._dropped = self._dropped, 0
        if dropped:
            _write_all(fd, (self.notice % dropped).encode())
        return True


def _write_all(fd: int, content: bytes) -> None:
    while content:
        content = content[os.write(fd, content) :]
