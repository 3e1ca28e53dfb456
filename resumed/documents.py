r"""Describe items and facts as JSON documents: the shapes that `resumed-ctl --json` prints.

One document a line, pure ASCII; times are UTC as the journal has them. Names that are no
UTF-8 hold lone surrogates (``\udcff`` is the byte ``ff``), as Python's os.fsencode reads
them. Fields are added in later versions, never renamed.

An item::

    {"id": "019a3c5d7e2-1f0c9b77aa", "name": "a.jpg", "state": "waiting",
     "claimed_at": "2026-11-22T12:00:00.000Z", "size": 1234, "owner": 1000,
     "attempts": 2, "failures": 2, "crashes": 0, "steps": ["search"], "kept_as": null, ...}

*state* is one of pending, running, waiting, open, held, failed, done, removed. It adds

    running   attempt, started_at; step and worker when a worker told them;
              progress ([done, total]) when the handler tells it
    waiting   attempt, step, error, failed_at, due_at
    open      opened_at; a job, some of whose parts are still to do
    held      why, held_at
    failed    attempt, step, error, output, failed_at
    done      result, done_at
    removed   removed_at

where *error* is ``{"kind": "builtins.ValueError", "text": "..."}``. A fact is the record
that the journal has, without its number, generation and checksum.
"""

import re
from collections.abc import Mapping
from typing import Any

from resumed.entry import Entry
from resumed.model import (
    Done,
    Failed,
    Fault,
    Gone,
    Held,
    Open,
    Pending,
    Record,
    Removed,
    Running,
    State,
    Waiting,
    timestamp,
)
from resumed.text import escape, shorten

STATES = ("running", "open", "pending", "waiting", "held", "failed", "done", "removed")
_REASON_LIMIT = 100
_VARYING = re.compile(r"'[^']*'|\"[^\"]*\"|\b0x[0-9a-f]+\b|\d+")
_ENVELOPE = frozenset({"n", "s", "g", "crc", "retold"})


def state_name(state: State) -> str:
    """Name a state in one word."""
    return type(state).__name__.lower()


def item(entry: Entry, told: Mapping[str, Any] | None = None) -> Record:
    """Describe one item; *told* is what its worker and the daemon tell beside the journal."""
    return {
        "id": entry.id,
        "name": entry.name,
        "state": state_name(entry.state),
        "claimed_at": timestamp(entry.claimed_at),
        "size": entry.identity.size,
        "owner": entry.owner,
        "attempts": entry.attempts,
        "failures": entry.failures,
        "crashes": entry.crashes,
        "steps": list(entry.steps),
        "kept_as": entry.kept_as,
        **_of_state(entry.state),
        **(told or {}),
    }


def fact(record: Record) -> Record:
    """Describe one record."""
    return {key: value for key, value in record.items() if key not in _ENVELOPE}


def short_kind(kind: str) -> str:
    """Write the kind of an error without the module that everybody knows."""
    return kind.removeprefix("builtins.").removeprefix("resumed.errors.")


def reason(fault: Fault) -> str:
    """Write why an attempt ended, on one line that harms no terminal."""
    if fault.kind == "parts":  # of a job: how many failed, and then where it is told which
        return shorten(escape(fault.text.partition("\n")[0]), _REASON_LIMIT)
    kind = short_kind(fault.kind)
    return shorten(escape(f"{kind}: {fault.text}" if fault.text else kind), _REASON_LIMIT)


def general_reason(fault: Fault) -> str:
    """Write a reason so that those which differ in numbers and quoted words only are alike."""
    return reason(Fault(fault.kind, _VARYING.sub("…", fault.text)))


def at_of(state: State) -> float | None:
    """Return since when an item is in its state, None where that is not told."""
    return None if isinstance(state, Pending) else state.at


def _of_state(state: State) -> Record:  # noqa: PLR0911 - one for each state
    match state:
        case Pending() | Gone():
            return {}
        case Running(attempt, at):
            return {"attempt": attempt, "started_at": timestamp(at)}
        case Waiting(attempt, step, fault, at, delay):
            times = {"failed_at": timestamp(at), "due_at": timestamp(at + delay)}
            return {"attempt": attempt, "step": step, "error": _error(fault), **times}
        case Open(at):
            return {"opened_at": timestamp(at)}
        case Held(why, at, _):
            return {"why": why, "held_at": timestamp(at)}
        case Failed(attempt, step, fault, output, at, _):
            ending = {"output": output, "failed_at": timestamp(at)}
            return {"attempt": attempt, "step": step, "error": _error(fault), **ending}
        case Done(result, at):
            return {"result": result, "done_at": timestamp(at)}
        case Removed(at):
            return {"removed_at": timestamp(at)}


def _error(fault: Fault) -> Record:
    return {"kind": fault.kind, "text": fault.text}
