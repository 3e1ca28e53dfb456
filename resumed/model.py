"""Hold the values that all parts of the program speak of.

Everything here is frozen: a change is a new value. Instants are seconds since the epoch
(UTC) and end in ``_at``; durations are seconds and end in ``_seconds``.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

JSON: TypeAlias = dict[str, "JSON"] | list["JSON"] | str | int | float | bool | None
# A record as it is read: which key holds what is the ledger's knowledge, not a type's.
Record: TypeAlias = dict[str, Any]


DEPTH_LIMIT = 100
_ENCODER = json.JSONEncoder(separators=(",", ":"), check_circular=False)
# Made once: `encode` makes it anew for each value.
_pieces = json.encoder.c_make_encoder(  # type: ignore[attr-defined] # not in the stubs
    None,
    _ENCODER.default,
    json.encoder.encode_basestring_ascii,
    None,
    ":",
    ",",
    False,
    False,
    True,
)


def to_json(value: JSON) -> str:
    """Write *value* in pure ASCII without a blank, so that any file name survives."""
    return "".join(_pieces(value, 0))


def too_deep(text: str, value: JSON) -> bool:
    """Tell whether *value*, which was read from *text*, has more than `DEPTH_LIMIT` levels.

    Whatever reads or writes it later, from deeper in its own calls, must not run out of stack.
    """
    return text.count("[") + text.count("{") > DEPTH_LIMIT and _deeper(value, DEPTH_LIMIT)


def _deeper(value: JSON, levels: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels < 0 or any(_deeper(each, levels - 1) for each in inner)


class Fact(NamedTuple):
    """Say what is to be recorded: a kind, when, and the particulars."""

    kind: str
    at: float
    particulars: Record


def instant(at: str) -> float:
    """Read a time as records have it, ``2026-11-22T12:00:00.123Z``, as seconds."""
    # One division, so that the same number comes out that `timestamp` was given.
    return (_milliseconds(at[:19] + at[23:]) + int(at[20:23])) / 1000


@lru_cache(maxsize=8)
def _milliseconds(second: str) -> int:
    return round(datetime.fromisoformat(second).timestamp()) * 1000


@lru_cache(maxsize=8)
def timestamp(at: float) -> str:
    """Write *at* as records have it, to the millisecond."""
    # Kept, because a dozen records are made in a millisecond when there is much to do.
    second, milliseconds = divmod(round(at * 1000), 1000)
    return f"{_second(second)}.{milliseconds:03d}Z"


@lru_cache(maxsize=8)
def _second(second: int) -> str:
    # A thousand records a second share this, the dearest part of making a line.
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


@dataclass(frozen=True, slots=True)
class Torn:
    """Describe the unfinished end of a journal: where it begins, and its bytes' number."""

    offset_bytes: int
    length_bytes: int
    line: int


@dataclass(frozen=True, slots=True)
class Reading:
    """Tell how a journal was found: how far it is sound, and what was torn off.

    *news* counts the facts since the last rewriting; *closed* says that the last group was
    proved to be synced.
    """

    generation: str
    last: int
    synced: int
    length_bytes: int
    news: int
    closed: bool
    torn: Torn | None


NOTHING_READ = Reading("", 0, 0, 0, 0, closed=False, torn=None)


class Identity(NamedTuple):
    """Tell whether a file is the same file, without reading it."""

    inode: int
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Fault:
    """Say why an attempt ended badly: the exception's or program's name, and its words.

    *kind* is a qualified class name ("builtins.ValueError"), or one of "exit 3",
    "signal 11", "timeout", "crashed", "changed", "unreadable".
    """

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Pending:
    """An item that waits for a free worker."""


@dataclass(frozen=True, slots=True)
class Running:
    """An item whose attempt was started and has not ended."""

    attempt: int
    at: float


@dataclass(frozen=True, slots=True)
class Waiting:
    """An item that failed and waits for its next attempt.

    The delay counts from *at*, the time of the failure, so that a restart neither
    shortens nor prolongs it.
    """

    attempt: int
    step: str | None
    fault: Fault
    at: float
    delay_seconds: float


@dataclass(frozen=True, slots=True)
class Open:
    """An item that is a job, some of whose parts are still to do."""

    at: float


@dataclass(frozen=True, slots=True)
class Held:
    """An item that a person, or a repair of the journal, took out of the flow.

    *kept_as* is its name in ``hold/``, None until it was put there.
    """

    reason: str
    at: float
    kept_as: str | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """An item whose handler succeeded. *result* is what it returned."""

    result: JSON
    at: float


@dataclass(frozen=True, slots=True)
class Failed:
    """An item that no further attempt is made for, with the reason.

    *kept_as* is its name in ``failed/``, None until it was put there.
    """

    attempt: int
    step: str | None
    fault: Fault
    output: str
    at: float
    kept_as: str | None = None


@dataclass(frozen=True, slots=True)
class Gone:
    """An item whose file somebody took away; *why* says where it was missed."""

    why: str
    at: float


@dataclass(frozen=True, slots=True)
class Removed:
    """An item that a person removed; its file is unlinked."""

    at: float


Outcome: TypeAlias = Done | Failed | Gone | Removed
State: TypeAlias = Pending | Running | Waiting | Open | Held | Outcome
