"""Read the records of a table: a ``.csv`` file with a header. All else is JSON lines."""

import csv
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from resumed.records import (
    BOM,
    LIMIT_BYTES,
    Bad,
    Found,
    Known,
    Lines,
    Part,
    UnusableError,
    bad,
)


def reader(opened: Callable[[], BinaryIO], name: str, id_field: str | None) -> Lines:
    """Read a file, whose *name* says what it is; *opened* opens it anew each time.

    Raises:
        UnusableError: It is a table whose header makes no sense.
    """
    kind = Table if name.lower().endswith(".csv") else Lines
    return kind(opened(), opened(), id_field)


class Table(Lines):
    """The records of a table: each is an object of its header's names and its own texts."""

    def _begin(self) -> None:
        csv.field_size_limit(LIMIT_BYTES)
        self._number = 0
        self._left = LIMIT_BYTES
        self._offset = len(BOM) if self._file.read(len(BOM)) == BOM else 0
        self._file.seek(self._offset)
        try:
            self._header = next((row for row in self._rows() if row), [])
        except (csv.Error, UnicodeDecodeError) as error:
            raise UnusableError(f"its header cannot be read: {error}") from error
        doubled = {name for name in self._header if self._header.count(name) > 1}
        if doubled or "" in self._header:
            which = f"{min(doubled)!r} twice" if doubled else "a column without a name"
            raise UnusableError(f"its header has {which}")
        self._header_bytes = sum(len(name) + 6 for name in self._header)
        self._first = (self._offset, self._number)

    def __iter__(self) -> Iterator[Found]:
        """Yield all that there is, from the first record on."""
        self._offset, self._number = self._first
        self._file.seek(self._offset)
        rows = self._rows()
        while True:
            offset, number = self._offset, self._number + 1
            self._left = LIMIT_BYTES
            try:
                row = next(rows, None)
            except (csv.Error, UnicodeDecodeError) as error:
                yield from self._recover(offset, number, error)
                rows = self._rows()
                continue
            if row is None:
                return
            yield self._row(offset, number, row) if row else None

    def at(self, offset: int, known: Known | None = None) -> Part | Bad:
        """Read the one record at *offset* again; its line is not known then."""
        self._again.seek(offset)
        texts = (line.decode() for line in iter(self._again.readline, b""))
        try:
            row = next(csv.reader(texts, strict=True), [])
        except (csv.Error, UnicodeDecodeError) as error:  # it was changed in between
            return bad(offset, 0, b"", f"is no row: {error}")
        # Every part has the names as well, and between any two texts there are six bytes.
        self.length_bytes = self._header_bytes + sum(map(len, row))
        return self._row(offset, 0, row, known)

    def _rows(self) -> Iterator[list[str]]:
        return csv.reader(self._texts(), strict=True)

    def _texts(self) -> Iterator[str]:
        """Yield lines from where the file is; an unclosed quote may ask for many of them."""
        while line := self._file.readline(LIMIT_BYTES + 1):
            self._left -= len(line)
            if self._left < 0:
                raise csv.Error(f"a record of more than {LIMIT_BYTES} bytes, or an unclosed quote")
            self._offset += len(line)
            self._number += 1
            yield line.decode()

    def _recover(self, offset: int, number: int, error: Exception) -> Iterator[Found]:
        """Give up one line only: a quote that was never closed must not take the rest along."""
        self._file.seek(offset)
        line = self._file.readline(LIMIT_BYTES + 1)
        fault = "is not UTF-8" if isinstance(error, UnicodeDecodeError) else f"is no row: {error}"
        content, length = line, len(line)
        while line and not line.endswith(b"\n"):
            yield None
            line = self._file.readline(LIMIT_BYTES)
            length += len(line)
        self._offset, self._number = offset + length, number
        yield bad(offset, number, content, fault)

    def _row(
        self, offset: int, number: int, row: list[str], known: Known | None = None
    ) -> Part | Bad:
        if len(row) == len(self._header):
            value: dict[str, Any] = dict(zip(self._header, row, strict=True))
            return self._part(offset, number, "\0".join(row).encode(), value, known)
        fault = f"has {len(row)} columns, the header has {len(self._header)}"
        return bad(offset, number, "\0".join(row).encode(), fault)
