"""Encode what a job is made of, all of it, before a backend writes the first byte.

A part is a JSON object. It is known by the text in its *id_field* if the job names one, and
by its number otherwise; numbers count from 0 in the order in which parts were given.
"""

import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import IO, Any, NamedTuple, Self
from urllib.parse import quote

from resumed.progress.errors import ProgressTypeError

MOST_BYTES = 256 * 1024
MOST_ID_BYTES = 240
NULL = "null"  # most results are none, and it need not go through the encoder
_IN_MEMORY_BYTES = 8 * 1024 * 1024
_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


class Entry(NamedTuple):
    """Hold one part as a backend stores it; *text* is its payload as JSON."""

    number: int
    id: str
    text: str


def encode(value: object, what: str) -> str:
    """Write *value* as ASCII JSON of at most 256 KiB; *what* names it in the error.

    Raises:
        ProgressTypeError: It is not JSON (NaN is not), or it is too large.
    """
    if value is None:
        return NULL
    try:
        text = _encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise ProgressTypeError(f"{what}: is not JSON: {error}") from error
    if len(text) > MOST_BYTES:
        raise ProgressTypeError(f"{what}: is {len(text)} bytes of JSON, the most is {MOST_BYTES}")
    return text


def decode(text: str | bytes) -> Any:  # noqa: ANN401 - the JSON edge
    """Read what `encode` wrote."""
    return None if text == NULL else json.loads(text)


def check_id(value: object, what: str) -> str:
    """Return an id as text; a number is taken by its digits.

    Raises:
        ProgressTypeError: It is no text or number, empty, or too long to name a file.
    """
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ProgressTypeError(f"{what}: {value!r} is neither text nor a whole number")
    text = str(value)
    if not text or len(file_name(text, what)) > MOST_ID_BYTES:
        raise ProgressTypeError(f"{what}: must have 1 to {MOST_ID_BYTES} bytes when quoted")
    return text


def file_name(id_: str, what: str = "job") -> str:
    """Quote an id so that it can be a file name, whatever is in it."""
    try:
        return quote(id_, safe="")
    except UnicodeEncodeError as error:
        raise ProgressTypeError(f"{what}: {id_!r} is not Unicode text") from error


def number_of(part_id: str, total: int) -> int | None:
    """Read the id of a part that is known by its number; None if there is no such part."""
    if not (part_id.isascii() and part_id.isdigit()) or len(part_id) > len(str(total)):
        return None
    number = int(part_id)
    return number if number < total and str(number) == part_id else None


class Parts:
    """Hold the encoded parts of one job: in memory while few, then in an unnamed file.

    Iterating yields them as they were given, as often as wanted; close it after use.
    """

    def __init__(
        self, parts: Iterable[Mapping[str, object]], *, id_field: str | None = None
    ) -> None:
        self.numbered = id_field is None
        self.total = 0
        self._lines: IO[bytes] = tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES)  # noqa: SIM115 - close() ends it
        seen: set[str] = set()
        try:
            for part in parts:
                self._add(part, id_field, seen)
        except BaseException:
            self.close()
            raise

    def _add(self, part: object, id_field: str | None, seen: set[str]) -> None:
        what = f"part {self.total}"
        if not isinstance(part, dict):
            raise ProgressTypeError(f"{what}: is {type(part).__name__}, must be a dict")
        text = encode(part, what)
        if id_field is not None:
            part_id = check_id(part.get(id_field), f"{what}, {id_field!r}")
            if part_id in seen:
                raise ProgressTypeError(f"{what}: id {part_id!r} was used by an earlier part")
            seen.add(part_id)
            text = f"{encode(part_id, what)}\t{text}"
        self._lines.write(text.encode() + b"\n")
        self.total += 1

    def __iter__(self) -> Iterator[Entry]:
        self._lines.seek(0)
        for number, line in enumerate(self._lines):
            text = line.decode().rstrip("\n")
            if self.numbered:
                yield Entry(number, str(number), text)
            else:
                quoted, _, text = text.partition("\t")
                yield Entry(number, str(decode(quoted)), text)

    def chunks(self, size: int) -> Iterator[list[Entry]]:
        """Yield the parts in lists of *size*, the last one shorter."""
        entries = iter(self)
        while chunk := list(islice(entries, size)):
            yield chunk

    def close(self) -> None:
        """Give the memory or the file back."""
        self._lines.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
