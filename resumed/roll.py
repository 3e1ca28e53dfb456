"""Know which parts of a job remain: a set of parts, small enough for millions of them.

A part is known by its *mark*, 64 bits of the hash of its id, and its *content*, 64 bits of
the hash of what it says. It has a number, in the order in which parts were first heard of;
`Roll.order` has the numbers in the order of the file. About fifty bytes hold a part, and
nothing about it is anywhere else in memory until it is given out or fails.

Numbers are found by a hash table with open addressing, in 256 tables that grow one at a
time: no growth holds up the daemon for long.
"""

from array import array
from collections.abc import Iterator

PENDING, GIVEN, WAITING, DONE, FAILED, BAD = range(6)
STATES = ("pending", "running", "waiting", "done", "failed", "bad")
UNSEEN = (1 << 64) - 1
MOST_ATTEMPTS = (1 << 16) - 1
_ABSENT = (1 << 32) - 1
_TABLES = 256
_FIRST_SLOTS = 8


class Roll:
    """The parts of one job. A part that only its journal knows is not *seen* in the file."""

    def __init__(self) -> None:
        self.order = array("I")
        self.marks = array("Q")
        self.contents = array("Q")
        self.offsets = array("Q")
        self.attempts = array("H")
        self.states = bytearray()
        self.counts = [0] * len(STATES)  # of what was seen
        self._tables = [array("I", [_ABSENT]) * _FIRST_SLOTS for _ in range(_TABLES)]
        self._used = array("I", [0]) * _TABLES

    def __len__(self) -> int:
        """Count the parts of the file, as far as it was read."""
        return len(self.order)

    def find(self, mark: int) -> int | None:
        """Return the number of a part."""
        table = self._tables[mark & 255]
        last = len(table) - 1
        slot = (mark >> 8) & last
        while (number := table[slot]) != _ABSENT:
            if self.marks[number] == mark:
                return number
            slot = (slot + 1) & last
        return None

    def add(self, mark: int, content: int) -> int:
        """Take in a part that is not known yet, as pending; return its number."""
        number = len(self.marks)
        self.marks.append(mark)
        self.contents.append(content)
        self.offsets.append(UNSEEN)
        self.attempts.append(0)
        self.states.append(PENDING)
        which = mark & 255
        self._used[which] += 1
        if 3 * self._used[which] > 2 * len(self._tables[which]):
            self._grow(which)
        self._put(self._tables[which], mark, number)
        return number

    def see(self, number: int, offset: int) -> None:
        """Note that the file has the part at *offset*."""
        self.offsets[number] = offset
        self.order.append(number)
        self.counts[self.states[number]] += 1

    def seen(self, number: int) -> bool:
        """Tell whether the file has the part, as far as it was read."""
        return self.offsets[number] != UNSEEN

    def turn(self, number: int, state: int) -> None:
        """Change the state of a part."""
        if self.offsets[number] != UNSEEN:
            self.counts[self.states[number]] -= 1
            self.counts[state] += 1
        self.states[number] = state

    def renew(self, number: int, content: int) -> None:
        """Let a part be pending again because it says something else now.

        The number of its last attempt stays: it is never used again.
        """
        self.contents[number] = content
        self.turn(number, PENDING)

    def of_state(self, state: int) -> Iterator[int]:
        """Yield the numbers of all parts in a state, seen or not."""
        number = self.states.find(state)
        while number >= 0:
            yield number
            number = self.states.find(state, number + 1)

    def gone(self) -> int:
        """Count the parts that were known and are not in the file."""
        return len(self.marks) - len(self.order)

    def size_bytes(self) -> int:
        """Say how much memory all this takes."""
        arrays = (self.order, self.marks, self.contents, self.offsets, self.attempts)
        every = (*arrays, self.states, self._used, *self._tables)
        return sum(each.__sizeof__() for each in every)

    def _grow(self, which: int) -> None:
        old = self._tables[which]
        table = array("I", [_ABSENT]) * (2 * len(old))
        for number in old:
            if number != _ABSENT:
                self._put(table, self.marks[number], number)
        self._tables[which] = table

    @staticmethod
    def _put(table: "array[int]", mark: int, number: int) -> None:
        last = len(table) - 1
        slot = (mark >> 8) & last
        while table[slot] != _ABSENT:
            slot = (slot + 1) & last
        table[slot] = number
