"""Explain to a person, in a note beside a failed file, why it is there and what to do.

A note is known by its first line, never by its name alone: ``invoice.failure.txt`` may well
be somebody's file. Whose note it is stands in it too, so that only an item's own is taken
away with it. All that came from outside is escaped.
"""

import os
import shlex
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

from resumed import text
from resumed.model import Failed

FIRST_LINE = "resumed: why this file is in failed/"
SUFFIX = ".failure.txt"
_LONGEST_NAME_BYTES = 255
_FILE = "file      "
_ITEM = "item      "
_PROMISE = "Steps that were recorded are not repeated while the file stays the same."


@dataclass(frozen=True, slots=True)
class Advice:
    """What a note needs to know of the instance: *ctl* is how its ctl is called."""

    ctl: str
    inbox: str
    max_attempts: int


def name_for(name: str) -> str:
    """Name the note beside *name*; a long name is cut so that the ending stays whole."""
    folder, slash, last = name.rpartition("/")
    room = _LONGEST_NAME_BYTES - len(SUFFIX)
    while len(os.fsencode(last)) > room:
        last = last[:-1]
    return f"{folder}{slash}{last}{SUFFIX}"


def is_sidecar(first_bytes: bytes) -> bool:
    """Tell whether a file that begins so is one of our notes."""
    return first_bytes.splitlines()[:1] == [FIRST_LINE.encode()]


def half_made(content: bytes) -> bool:
    """Tell whether *content* is what a crash left of one of our notes.

    A power cut leaves zeros where text is missing, at the end of it or at its beginning.
    """
    text = content.strip(b"\0")
    if is_sidecar(text) or FIRST_LINE.encode().startswith(text):
        return True
    return content.startswith(b"\0") and _PROMISE.encode() in text


def belongs_to(content: bytes, item_id: str) -> bool:
    """Tell whether *content* is our note about this item."""
    return is_sidecar(content) and f"{_ITEM}{item_id}".encode() in content.splitlines()


def is_anothers(content: bytes, item_id: str) -> bool:
    """Tell whether *content* is our note about another item than this one."""
    told = [line for line in content.splitlines() if line.startswith(_ITEM.encode())]
    return is_sidecar(content) and bool(told) and not belongs_to(content, item_id)


def is_about(content: bytes, item_id: str, kept_as: str) -> bool:
    """Tell whether *content* is our note about this item, when its file had this name."""
    named = f"{_FILE}{text.escape(kept_as)}".encode()
    return belongs_to(content, item_id) and named in content.splitlines()


def render(
    failed: Failed,
    *,
    item_id: str,
    kept_as: str,
    advice: Advice,
    zone: tzinfo | None = None,
) -> bytes:
    """Write the note about the file that is *kept_as* in ``failed/``.

    Times are told in *zone*, the machine's own by default, and in UTC.
    """
    lines = [
        FIRST_LINE,
        "",
        f"{_FILE}{text.escape(kept_as)}",
        f"why       {_why(failed)}",
        *([f"step      {text.escape(failed.step)}"] if failed.step is not None else []),
        *([_attempt(failed.attempt, advice.max_attempts)] if failed.attempt else []),
        f"when      {_when(failed.at, zone)}",
        f"{_ITEM}{item_id}",
        "",
        "What to do: remove the cause, then",
        "",
        f"    {advice.ctl} retry {_as_argument(kept_as, item_id)}",
        "",
        "or move the file back into the inbox, which is a retry too:",
        "",
        f"    {text.escape(advice.inbox)}",
        "",
        _PROMISE,
    ]
    if failed.output.strip():
        lines += ["", "The last lines of its output:", ""]
        lines += [f"    {text.escape(line)}" for line in failed.output.rstrip().split("\n")]
    return ("\n".join(lines) + "\n").encode()


def _why(failed: Failed) -> str:
    """Name the fault, its further lines below the first."""
    kind = failed.fault.kind.removeprefix("builtins.")
    words = failed.fault.text.rstrip()
    lines = (f"{kind}: {words}" if words else kind).split("\n")
    return "\n          ".join(map(text.escape, lines))


def _attempt(attempt: int, allowed: int) -> str:
    return f"attempt   {attempt} ({allowed} failures are allowed)"


def _when(at: float, zone: tzinfo | None) -> str:
    utc = datetime.fromtimestamp(at, UTC)
    return f"{utc.astimezone(zone):%Y-%m-%d %H:%M:%S %Z} ({utc:%Y-%m-%dT%H:%M:%SZ})"


def _as_argument(kept_as: str, item_id: str) -> str:
    """Write what a person can paste into a shell: the id where the name is not fit for it."""
    fit = text.escape(kept_as) == kept_as and not kept_as.startswith("-")
    return shlex.quote(kept_as) if fit else item_id
