"""Read a long journal for a few of its items, several times as fast as a replay.

Every line is checked as a replay checks it: its checksum, its number, its generation, and the end
of the file. But what a line tells is decoded only for the items that end up in a wanted state;
the others are counted by the kinds of their lines. No second truth is kept: the answer is that
of a replay, without the other items. Where a part was skimmed before, `resumed.bookmark` tells
what was in it, and only the rest is read.
"""

import re
import zlib
from collections import Counter
from collections.abc import Container
from itertools import chain
from typing import BinaryIO

from resumed import bookmark, journal
from resumed.bookmark import Bookmark
from resumed.ledger import Ledger, UnknownKindError
from resumed.model import Reading, Record

_HEAD = re.compile(
    rb'\{"n":(\d+),"s":(\d+),"g":"(\w+)","at":"[^"]*","kind":"(\w+)"'
    rb'(?:,"id":"([^"\\]*)")?'
)
# About no single item; the first of them matter to all.
_WHOLE = frozenset({"opened", "versioned", "paused", "unpaused"})
_NOTHING = frozenset({"answered", "reloaded", "synced", "job_ended"})
_STATES_AFTER = {
    "claimed": "pending",
    "started": "running",
    "waiting": "waiting",
    "interrupted": "pending",
    "crashed": "pending",
    "retried": "pending",
    "released": "pending",
    "job_opened": "open",
    "held": "held",
    "failed": "failed",
    "done": "done",
    "removed": "removed",
}
_STATES = frozenset({*_STATES_AFTER, "stepped", "put_away", "gone"})
_SKIMMED = {kind.encode(): kind for kind in _STATES}
_RETOLD = b'"retold":'
_KEPT = ("failed", "held")
_ENDINGS = frozenset({"done", "failed", "gone", "removed"})
_COUNTED = frozenset(kind.encode() for kind in _ENDINGS)


class Skim:
    """Follow the states of all items, and where in the file their lines are."""

    def __init__(self, known: Bookmark | None = None) -> None:
        """Go on after what is *known*."""
        self._known = known
        self._counts: Counter[str] = Counter(known.counts if known else {})
        self._states: dict[str, str] = {}
        self._places: dict[str, list[int]] = {}
        self._of_all: list[int] = list(known.of_all) if known else []
        self._place = self._next = known.reading.length_bytes if known else 0
        self._generation = b"", ""

    def decode(self, line: bytes) -> Record | None:
        """Decode the frame of a line, and all of one that is about no single item."""
        self._place, self._next = self._next, self._next + len(line)
        head = _HEAD.match(line)
        if head is None or line[-19:-11] != b',"crc":"' or line[-3:] != b'"}\n':
            return None
        number, synced, generation, kind, item_id = head.groups()
        if item_id is None or kind not in _SKIMMED or (kind in _COUNTED and _RETOLD in line):
            return journal.unseal(line)
        if b"%08x" % zlib.crc32(line[:-19]) != line[-11:-3]:
            return None
        if generation != self._generation[0]:
            self._generation = generation, generation.decode()
        return {
            "n": int(number),
            "s": int(synced),
            "g": self._generation[1],
            "kind": _SKIMMED[kind],
            "id": item_id.decode(),
        }

    def apply(self, record: Record) -> None:
        """Take in the frame of a record.

        Raises:
            UnknownKindError: A newer program wrote it.
            KeyError: It is about an item that is not there.
        """
        kind = record["kind"]
        if kind not in _STATES:
            self._apply_to_all(kind, record)
            return
        item_id = record["id"]
        if item_id not in self._places:
            self._begin(item_id, kind)
        self._places[item_id].append(self._place)
        after = self._after(kind, item_id)
        if after is None:
            del self._states[item_id], self._places[item_id]
        else:
            self._states[item_id] = after
        if kind in _ENDINGS and not record.get("retold"):
            self._counts[kind] += 1

    def settle(self, file: BinaryIO, ledger: Ledger, states: Container[str]) -> dict[str, int]:
        """Add the items in one of *states* up; return how many others there are, by state."""
        unread: Counter[str] = Counter()
        places = list(self._of_all)
        for state, count in (self._known.by_state() if self._known else {}).items():
            if self._known and state in states:
                for number in self._known.in_state(state):
                    places += self._known.places_of(number)
            else:
                unread[state] += count
        for item_id, state in self._states.items():
            if state in states:
                places += self._places[item_id]
            else:
                unread[state] += 1
        for place in sorted(places):
            file.seek(place)
            record = journal.unseal(file.readline())
            if record is None:
                raise ValueError("a line that changed while it was read")
            ledger.apply(record)
        ledger.counts = dict(self._counts)
        return dict(unread)

    def mark(self, reading: Reading) -> Bookmark:
        """Put all that is known into a bookmark, where *reading* ends."""
        fresh = ((each, state, self._places[each]) for each, state in self._states.items())
        items = chain(self._known.items() if self._known else (), fresh)
        return bookmark.make(reading, self._counts, self._of_all, items)

    def _begin(self, item_id: str, kind: str) -> None:
        """Take up an item that is known already, or a new one."""
        known = self._known.take(item_id) if self._known else None
        if known is not None:
            self._states[item_id], self._places[item_id] = known
        elif kind == "claimed":
            self._places[item_id] = []

    def _apply_to_all(self, kind: str, record: Record) -> None:
        if kind in _WHOLE:
            self._of_all.append(self._place)
        elif kind not in _NOTHING:
            raise UnknownKindError(repr(kind))
        if kind == journal.HEADER:
            self._counts = Counter(record["counts"])

    def _after(self, kind: str, item_id: str) -> str | None:
        """Return the state after a record, None when the item is over."""
        if kind in _STATES_AFTER:
            return _STATES_AFTER[kind]
        state = self._states[item_id]
        over = kind == "gone" or (kind == "put_away" and state not in _KEPT)
        return None if over else state
