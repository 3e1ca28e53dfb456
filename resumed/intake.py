"""Follow what is in the inbox until it is ready, with a bounded memory.

The folder is the truth, and the backlog stays in it. At most *capacity* candidates are
known at a time; a scan fills them up, waits, half-read, while they are worked off, and goes
on where it was. Each scan is finished before the next begins, so no name starves. Of what
one filling found, the oldest arrival is asked first.
"""

import heapq
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from resumed.arrival import (
    Foreign,
    Growing,
    Ignored,
    Ready,
    Sidecar,
    Sighting,
    Unreadable,
    Vanished,
    Verdict,
)
from resumed.gate import Gate
from resumed.stranger import Birth

CAPACITY = 10_000
UNREADABLE_SECONDS = 60.0
LEFT_ALONE_KEPT = 1000


@dataclass(frozen=True, slots=True)
class Refused:
    """A file that nobody may read, for a minute now: to be claimed as a failure."""

    ready: Ready
    fault: str


@dataclass(frozen=True, slots=True)
class NotReady:
    """A file that is still being made, and how often it was asked after."""

    name: str
    why: str
    times: int


@dataclass(slots=True)
class _Candidate:
    sighting: Sighting | None
    due: float
    times: int = 0
    why: str = ""


class Intake:
    """The candidates of one inbox. Times are monotonic seconds."""

    def __init__(
        self,
        gate: Gate,
        *,
        recursive: bool,
        tell: Callable[[str, str, str], None],
        capacity: int = CAPACITY,
    ) -> None:
        """*tell* is given an event's name, an item's name and a detail."""
        self._gate = gate
        self._recursive = recursive
        self._tell = tell
        self._capacity = capacity
        self._candidates: dict[str, _Candidate] = {}
        self._queue: list[tuple[float, int, str]] = []
        self._found: list[tuple[int, str]] = []
        self._scan: Iterator[list[tuple[str, int]]] | None = None
        self._scan_again = False
        self._left_alone: dict[str, str] = {}
        self.scans_done = 0

    @property
    def scanning(self) -> bool:
        """Tell whether a scan is under way or wanted."""
        return self._scan is not None or self._scan_again

    @property
    def known(self) -> int:
        """Count the files that are followed."""
        return len(self._candidates)

    def inodes(self) -> set[int]:
        """Return the inodes of the files that are followed."""
        seen = (each.sighting or self._gate.sight(n) for n, each in self._candidates.items())
        found = (each.signature for each in seen if isinstance(each, Sighting))
        return {signature[0] for signature in found if signature}

    def scan(self) -> None:
        """Read the whole inbox, as soon as a scan under way is finished."""
        self._scan_again = True

    def hint(self, names: Iterable[str], births: Iterable[Birth], now: float) -> None:
        """Look at *names* now; what finds no room is found by the next scan."""
        self._gate.remember(births)
        for name in names:
            candidate = self._candidates.get(name)
            if candidate is not None:
                self._queue_up(name, candidate, min(candidate.due, now))
            elif len(self._candidates) < self._capacity:
                self._queue_up(name, _Candidate(None, now), now)
            else:
                self._scan_again = True

    def next_due(self, now: float) -> float | None:
        """Say when `turn` has something to do again."""
        if self._can_read():
            return now
        while self._queue and self._stale(self._queue[0]):
            heapq.heappop(self._queue)
        return self._queue[0][0] if self._queue else None

    def turn(self, now: float, room: int) -> list[Ready | Refused]:
        """Go on with the scan a little, and return at most *room* files that may be claimed."""
        if self._can_read():
            self._read_on(now)
        ready: list[Ready | Refused] = []
        while self._queue and self._queue[0][0] <= now and len(ready) < room:
            place = heapq.heappop(self._queue)
            if self._stale(place):
                continue
            name = place[2]
            candidate = self._candidates[name]
            verdict = self._gate.examine(name, candidate.sighting)
            claimable = self._weigh(name, candidate, verdict, now)
            if claimable is not None:
                ready.append(claimable)
        return ready

    def not_ready(self) -> list[NotReady]:
        """List the files that are still being made."""
        return [NotReady(n, c.why, c.times) for n, c in self._candidates.items()]

    def use(self, gate: Gate, *, recursive: bool) -> None:
        """Judge by other rules from now on, all that is in the inbox."""
        self._gate = gate
        self._recursive = recursive
        self.forget()

    def forget(self) -> None:
        """Drop everything that was seen: the inbox is another folder now."""
        self._candidates.clear()
        self._queue.clear()
        self._found.clear()
        self._scan = None
        self.scan()

    def _can_read(self) -> bool:
        if self._scan is None:
            return self._scan_again
        # Half empty, or filling up: reading a little each time would stat in directory order.
        return bool(self._found) or len(self._candidates) <= self._capacity // 2

    def _read_on(self, now: float) -> None:
        if self._scan is None:
            self._scan = self._gate.scan(recursive=self._recursive)
            self._scan_again = False
        chunk = next(self._scan, None)
        if chunk is None:
            self._scan = None
            self.scans_done += 1
        else:
            self._sight(chunk)
        if chunk is None or len(self._candidates) >= self._capacity:
            self._release(now)

    def _sight(self, chunk: list[tuple[str, int]]) -> None:
        for name, _ in chunk:
            if name in self._candidates:
                continue
            seen = self._gate.sight(name)
            if isinstance(seen, Sighting):
                self._candidates[name] = _Candidate(seen, seen.since)
                self._found.append((seen.arrived_ns, name))
            elif isinstance(seen, Foreign):
                self._leave_alone(seen)

    def _release(self, now: float) -> None:
        """Let the oldest of what was found be asked first."""
        for arrived_ns, name in sorted(self._found):
            candidate = self._candidates.get(name)
            if candidate is not None and not candidate.times:
                candidate.due = now
                heapq.heappush(self._queue, (now, arrived_ns, name))
        self._found = []

    def _weigh(
        self, name: str, candidate: _Candidate, verdict: Verdict, now: float
    ) -> Ready | Refused | None:
        candidate.times += 1
        match verdict:  # the most frequent first
            case Ready():
                del self._candidates[name]
                return verdict
            case Growing(_, due_at, why, sighting):
                candidate.sighting, candidate.why = sighting, why
                self._queue_up(name, candidate, due_at)
                return None
            case Unreadable(_, identity, sighting, fault):
                if now - sighting.since < UNREADABLE_SECONDS:
                    if candidate.why != fault:
                        self._tell("unreadable", name, fault)
                    candidate.sighting, candidate.why = sighting, fault
                    self._queue_up(name, candidate, now + 1.0)
                    return None
                del self._candidates[name]
                return Refused(Ready(name, identity, None), fault)
            case Foreign():
                self._leave_alone(verdict)
            case Sidecar():
                self._gate.discard(name)
            case Ignored() | Vanished():
                pass
        del self._candidates[name]
        return None

    def _queue_up(self, name: str, candidate: _Candidate, due: float) -> None:
        candidate.due = due
        self._candidates[name] = candidate
        arrived_ns = candidate.sighting.arrived_ns if candidate.sighting else 0
        heapq.heappush(self._queue, (due, arrived_ns, name))

    def _stale(self, place: tuple[float, int, str]) -> bool:
        candidate = self._candidates.get(place[2])
        return candidate is None or candidate.due != place[0]

    def _leave_alone(self, foreign: Foreign) -> None:
        """Say once that something is no regular file."""
        if self._left_alone.get(foreign.name) != foreign.kind:
            if len(self._left_alone) >= LEFT_ALONE_KEPT:
                self._left_alone.clear()
            self._left_alone[foreign.name] = foreign.kind
            self._tell("left_alone", foreign.name, foreign.kind)
