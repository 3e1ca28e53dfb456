"""Read the records of a job's file: each is a part, or a line that cannot be one.

Here they are JSON lines; `resumed.tables` reads tables. Records are read one after
another, however long the file is; a blank line is none. What cannot be a part is told with
its line, and reading goes on behind it: text that is no UTF-8, no JSON object, is nested
deeper than 100 levels, has another number of columns than the header, has no id, or is longer
than a mebibyte.

A part is known by its *id*, which is text or a whole number in the field that the
configuration names (7 and "7" are the same id); without such a field, by a hash of what it
says, in which neither the order of its fields nor the spaces between them count. Where a
record stands in the file never matters.

A file may begin with a line that is no part but tells about the job::

    {"resumed-job": {"metadata": {"batch": 17}}}

What it tells is kept in one record: at most 256 KiB of JSON, as the result of a step.
"""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from hashlib import blake2b
from typing import Any, BinaryIO, NamedTuple, NoReturn, TypeAlias

from resumed.model import DEPTH_LIMIT, JSON, Record, too_deep

LIMIT_BYTES = 1 << 20
METADATA_LIMIT_BYTES = 256 << 10
ID_LIMIT = 4096
ABOUT = "resumed-job"
BOM = b"\xef\xbb\xbf"
_TOO_DEEP = f"nested deeper than {DEPTH_LIMIT} levels"


class Part(NamedTuple):
    """One record. *mark* and *content* are 64 bits each, of its id and of what it says."""

    offset: int
    line: int
    id: str
    mark: int
    content: int
    value: dict[str, JSON]


class Bad(NamedTuple):
    """A line that is no part; it is known by its number, and by its bytes."""

    offset: int
    line: int
    mark: int
    content: int
    fault: str

    @property
    def id(self) -> str:
        """Name it where parts are listed."""
        return f"line {self.line}"


class UnusableError(Exception):
    """Say why nothing of the file can be read."""


Known: TypeAlias = tuple[int, int]
Found: TypeAlias = Part | Bad | None  # None: nothing yet, for whoever watches the time


def key(mark: int, content: int) -> str:
    """Write what a part is known by, as records have it."""
    return f"{mark:016x}-{content:016x}"


def unkey(text: str) -> tuple[int, int]:
    """Read what `key` wrote."""
    return int(text[:16], 16), int(text[17:], 16)


def mark_of(part_id: str, id_field: str | None) -> int:
    """Return the mark of the part, or of the bad line, that is called so."""
    if part_id.startswith("line ") and part_id[5:].isdecimal():
        return _hash(part_id.encode())
    if id_field is None and len(part_id) == 32 and part_id.isalnum():  # noqa: PLR2004 - as hashed
        with suppress(ValueError):
            return int(part_id[:16], 16)
    return _hash(b"id " + part_id.encode("utf-8", "surrogatepass"))


def bad(offset: int, line: int, content: bytes, fault: str) -> Bad:
    """Make a bad line of its bytes."""
    return Bad(offset, line, _hash(b"line %d" % line), _hash(content), fault)


class Lines:
    """The records of a file of JSON lines."""

    def __init__(self, file: BinaryIO, again: BinaryIO, id_field: str | None) -> None:
        """Read *file* from its beginning, and *again* wherever `at` is asked for."""
        self.metadata: dict[str, JSON] = {}
        self.length_bytes = 0  # of what `at` has read
        self._file = file
        self._again = again
        self._id_field = id_field
        try:
            self._begin()
        except UnusableError:
            self.close()
            raise

    def __iter__(self) -> Iterator[Found]:
        """Yield all that there is, from the first record on."""
        self._file.seek(self._first[0])
        offset, number = self._first
        while line := self._file.readline(LIMIT_BYTES + 1):
            number += 1
            if len(line) > LIMIT_BYTES and not line.endswith(b"\n"):
                length = len(line)
                while line and not line.endswith(b"\n"):
                    yield None
                    line = self._file.readline(LIMIT_BYTES)
                    length += len(line)
                yield _too_long(offset, number, length)
                offset += length
                continue
            yield None if line.isspace() else self._parse(offset, number, line)
            offset += len(line)

    def at(self, offset: int, known: Known | None = None) -> Part | Bad:
        """Read the one record at *offset* again; its line is not known then.

        With *known*, its mark and content, these are not found out again, which costs as much
        as all the rest.
        """
        self._again.seek(offset)
        line = self._again.readline(LIMIT_BYTES + 1)
        self.length_bytes = len(line)
        return self._parse(offset, 0, line, known)

    def status(self) -> os.stat_result:
        """Look at the open file."""
        return os.fstat(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        self._again.close()

    def _begin(self) -> None:
        """Find where the records begin, and take what the first line tells of the job."""
        first = self._file.readline(LIMIT_BYTES)
        skipped = len(BOM) if first.startswith(BOM) else 0
        self._first = (skipped, 0)
        if ABOUT.encode() not in first:
            return
        try:
            value = json.loads(first[skipped:])
        except (ValueError, RecursionError):
            return
        if isinstance(value, dict) and list(value) == [ABOUT] and isinstance(value[ABOUT], dict):
            self.metadata = _metadata(value[ABOUT].get("metadata"))
            self._first = (len(first), 1)

    def _parse(
        self, offset: int, number: int, line: bytes, known: Known | None = None
    ) -> Part | Bad:
        try:
            text = line.decode()
            value = _decode(text)
            if too_deep(text, value):
                return bad(offset, number, line, f"is {_TOO_DEEP}")
            if type(value) is dict:
                return self._part(offset, number, line, value, known)
            fault = "is not a JSON object"
        except UnicodeDecodeError as error:
            fault = f"is not UTF-8, at its byte {error.start + 1}"
        except json.JSONDecodeError as error:
            fault = f"is not JSON: {error.msg}, at column {error.colno}"
        except (ValueError, RecursionError) as error:
            fault = f"is not JSON: {error}"
        return bad(offset, number, line, fault)

    def _part(
        self,
        offset: int,
        number: int,
        line: bytes,
        value: dict[str, Any],
        known: Known | None,
    ) -> Part | Bad:
        if known is not None:
            return Part(offset, number, self._id_of(value, known), *known, value)
        said = canonical(value)
        if self._id_field is None:
            both = blake2b(said, digest_size=16).digest()
            mark, content = int.from_bytes(both[:8], "big"), int.from_bytes(both[8:], "big")
            return Part(offset, number, both.hex(), mark, content, value)
        found = value.get(self._id_field)
        if type(found) is int:
            found = str(found)
        if type(found) is not str or not 0 < len(found) <= ID_LIMIT:
            fault = f"has no usable id: its field {self._id_field!r} must be text or a whole number"
            return bad(offset, number, line, fault)
        mark = _hash(b"id " + found.encode("utf-8", "surrogatepass"))
        return Part(offset, number, found, mark, _hash(said), value)

    def _id_of(self, value: dict[str, Any], known: Known) -> str:
        if self._id_field is None:
            return f"{known[0]:016x}{known[1]:016x}"
        return str(value.get(self._id_field))


def _decode(text: str) -> Any:  # noqa: ANN401 - any JSON
    """Read a line of JSON; most of the time `JSONDecoder.decode` looks for spaces."""
    if text.startswith("{"):
        with suppress(StopIteration):
            value, end = _scan(text, 0)
            if text[end:] in ("\n", "", "\r\n"):
                return value
    return _decoder.decode(text)  # with the fault, if there is one


def canonical(value: dict[str, Any]) -> bytes:
    """Write a record so that all who say the same are written the same."""
    return "".join(_canonical(value, 0)).encode("ascii")


def about(metadata: dict[str, JSON]) -> Record:
    """Make the line that tells a job's *metadata*."""
    return {ABOUT: {"metadata": metadata}}


def _metadata(found: Any) -> dict[str, JSON]:  # noqa: ANN401 - any JSON
    """Check what a first line tells: it has to fit into a record, and to reach the reduce."""
    if not isinstance(found, dict):
        return {}
    try:
        text = canonical(found).decode()
    except (ValueError, RecursionError) as error:
        raise UnusableError(f"its metadata is no JSON: {error}") from error
    if too_deep(text, found):
        raise UnusableError(f"its metadata is {_TOO_DEEP}")
    if len(text) > METADATA_LIMIT_BYTES:
        fault = f"has {len(text)} bytes of JSON, more than {METADATA_LIMIT_BYTES}"
        raise UnusableError(f"its metadata {fault}")
    return found


def _too_long(offset: int, number: int, length: int) -> Bad:
    fault = f"is {length} bytes long, more than {LIMIT_BYTES}"
    return bad(offset, number, b"%d" % length, fault)


def _hash(content: bytes) -> int:
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "big")


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


_decoder = json.JSONDecoder(parse_constant=_refuse)
_scan = _decoder.scan_once  # type: ignore[attr-defined] # not in the stubs
_encoder = json.JSONEncoder(allow_nan=False)
_canonical = json.encoder.c_make_encoder(  # type: ignore[attr-defined] # not in the stubs
    None,
    _encoder.default,
    json.encoder.encode_basestring_ascii,
    None,
    ":",
    ",",
    True,
    False,
    False,
)
