"""Lay out what is printed: columns that line up, times that people read, JSON that is ASCII.

Everything is plain text. What came from outside was escaped before it gets here, except in
`document`, where JSON's own escapes keep every name exact.
"""

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from resumed import text

GAP = "  "
FOLD_INDENT = "    "
_WORDS = re.compile(r"\s*\S+\s*|\s+")


def document(value: object) -> str:
    """Write *value* as one line of JSON in pure ASCII."""
    return json.dumps(value, separators=(",", ":"))


def columns(rows: Iterable[Sequence[str]], *, indent: str = "") -> Iterator[str]:
    """Line up the cells of *rows*; the last of each row is as long as it is."""
    table = [list(row) for row in rows]
    widths: list[int] = []
    for row in table:
        for at, cell in enumerate(row[:-1]):
            if at == len(widths):
                widths.append(0)
            widths[at] = max(widths[at], width(cell))
    for row in table:
        cells = [pad(cell, widths[at]) for at, cell in enumerate(row[:-1])]
        yield (indent + GAP.join([*cells, *row[-1:]])).rstrip()


def width(shown: str) -> int:
    """Count the columns that a terminal needs for *shown*."""
    if shown.isascii():
        return len(shown)
    return sum(_width(character) for character in shown)


def pad(shown: str, columns_wanted: int) -> str:
    """Fill *shown* up with spaces."""
    return shown + " " * (columns_wanted - width(shown))


def cut(shown: str, columns_wanted: int) -> str:
    """Shorten *shown* to so many columns, the last of them an ellipsis where it was cut."""
    if width(shown) <= columns_wanted:
        return shown
    kept, used = [], 1
    for character in shown:
        used += _width(character)
        if used > columns_wanted:
            break
        kept.append(character)
    return "".join(kept) + "…"


def fold(line: str, columns_wanted: int) -> Iterator[str]:
    """Break *line* between words into pieces of so many columns; what goes on is indented."""
    piece = ""
    for word in _WORDS.findall(line):
        if piece.strip() and width(piece) + width(word.rstrip()) > columns_wanted:
            yield piece.rstrip()
            piece = FOLD_INDENT
        piece += word
    yield piece.rstrip()


def moment(at: float) -> str:
    """Write an instant as local date and time."""
    return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def clock(at: float, now: float) -> str:
    """Write an instant briefly: its time, and its date unless that is today."""
    then, today = (datetime.fromtimestamp(each).astimezone() for each in (at, now))
    return then.strftime("%H:%M:%S" if then.date() == today.date() else "%Y-%m-%d %H:%M:%S")


def ago(at: float, now: float) -> str:
    """Say how long ago *at* was."""
    return f"{span(now - at)} ago"


def span(seconds: float) -> str:
    """Write a duration without fractions of a second."""
    return text.duration(max(0, round(seconds)))


def plural(count: int, noun: str) -> str:
    """Write a count with its noun."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _width(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
