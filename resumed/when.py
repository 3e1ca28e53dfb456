"""Read a moment as people write it: a date, a time, a day by name, or how long ago."""

from contextlib import suppress
from datetime import datetime, timedelta

from resumed import text
from resumed.errors import UsageError

_DAYS = {"today": 0, "yesterday": 1}
_SHAPE = 'write it as "yesterday", "2h", "2026-11-22" or "2026-11-22 14:00"'


def parse(written: str, now: float) -> float:
    """Return the instant that *written* means, in seconds; local time unless it says Z.

    What is longer ago than the epoch is the epoch: calendars end, and nothing was before it.

    Raises:
        ValueError: It means none.
    """
    word = written.strip()
    if word in _DAYS:
        day = datetime.fromtimestamp(now).astimezone().date() - timedelta(days=_DAYS[word])
        word = day.isoformat()  # its midnight need not be as far from UTC as this moment
    with suppress(ValueError):
        return max(0.0, now - text.parse_duration(word))
    try:
        return max(0.0, datetime.fromisoformat(word).astimezone().timestamp())
    except (ValueError, OverflowError):
        raise ValueError(f"{written!r} is no moment; {_SHAPE}") from None


def option(written: str | None, now: float) -> float | None:
    """Read the value of an option that may be missing.

    Raises:
        UsageError: It means no moment.
    """
    try:
        return None if written is None else parse(written, now)
    except ValueError as error:
        raise UsageError(str(error)) from error
