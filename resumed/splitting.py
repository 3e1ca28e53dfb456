"""Split a job's file into parts, against what its journal knows of them.

Ids decide which part a record is, contents whether it is still the same: a part that says
something else is new, a record that is there twice is one part, and a second record with an
id but other contents is a line that cannot be a part.
"""

from collections.abc import Callable, Iterator

from resumed import records, roll
from resumed.gathering import BETWEEN_CLOCKS
from resumed.jobbook import JobBook
from resumed.jobledger import Tries
from resumed.records import Bad, Lines, Part

_KEYS_TOGETHER = 100


class Splitting:
    """The reading of one file. *place* is told each part that something went wrong with."""

    def __init__(self, book: JobBook, lines: Lines, place: Callable[[int, Tries], None]) -> None:
        self._book = book
        self._ledger = book.ledger
        self._roll = book.ledger.roll
        self._lines = lines
        self._place = place
        self._known = len(self._roll.marks)
        self._merged = self._new = self._changed = self._unchanged = self._gone = 0

    def slices(self) -> Iterator[None]:
        """Read the whole file; yields every few records."""
        for turn, found in enumerate(self._lines):
            if isinstance(found, Bad):
                self._take_bad(found)
            elif found is not None:
                self._take_in(found)
            if not turn % BETWEEN_CLOCKS:
                yield
        yield from self._tell_gone()
        self._book.record(
            "split",
            parts=len(self._roll),
            bad=self._roll.counts[roll.BAD],
            merged=self._merged,
            new=self._new,
            changed=self._changed,
            unchanged=self._unchanged,
            gone=self._gone,
        )

    def _tell_gone(self) -> Iterator[None]:
        """Record all parts that are not in the file; count those that were in the one before."""
        parts, keys = self._roll, list[str]()
        for number in range(self._known):
            if not parts.seen(number):
                keys.append(records.key(parts.marks[number], parts.contents[number]))
                self._gone += number not in self._ledger.gone
            if len(keys) == _KEYS_TOGETHER:
                self._book.record("gone", keys=keys)
                keys = []
                yield
        if keys:
            self._book.record("gone", keys=keys)

    def _take_in(self, found: Part) -> None:
        parts = self._roll
        number = parts.find(found.mark)
        if number is None:
            number = parts.add(found.mark, found.content)
            self._new += 1
        elif parts.seen(number):
            self._take_double(found, number)
            return
        elif parts.contents[number] != found.content:
            self._ledger.renew(number, found.content)
            self._changed += 1
        else:
            self._unchanged += 1
        parts.see(number, found.offset)
        attempt = self._ledger.traces.get(found.mark, 0) if self._ledger.traces else 0
        if attempt > parts.attempts[number]:
            key = records.key(found.mark, found.content)
            self._book.record("crashed", part=found.id, key=key, attempt=attempt)
        tries = self._ledger.tries.get(number) if self._ledger.tries else None
        if tries is not None:
            self._place(number, tries)

    def _take_double(self, found: Part, number: int) -> None:
        """Merge a record that is there already; another one with its id is a bad line."""
        first = self._lines.at(self._roll.offsets[number])
        # By its content, too: to Python 1 and true are equal values.
        if not isinstance(first, Bad) and first[2:] == found[2:]:
            self._merged += 1
            return
        mark = records.bad(0, found.line, b"", "").mark
        fault = f"has the id {found.id!r} of a line before it, but says something else"
        self._take_bad(Bad(found.offset, found.line, mark, found.content, fault))

    def _take_bad(self, found: Bad) -> None:
        parts = self._roll
        number = parts.find(found.mark)
        same = number is not None and parts.contents[number] == found.content
        if number is None or not same or parts.states[number] != roll.BAD:
            error = {"kind": "bad line", "text": f"line {found.line} {found.fault}"}
            key = records.key(found.mark, found.content)
            self._book.record("bad", part=found.id, key=key, line=found.line, error=error)
            number = parts.find(found.mark)
        if number is not None:
            parts.see(number, found.offset)
