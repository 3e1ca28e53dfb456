"""Decide which item runs next. Knows ids, names and times, and nothing of files.

- Items of one name run one after another, in the order of their claims.
- New items and retries that are due take turns, so that neither starves the other.
- A suspect (its last attempt died together with the program) runs alone at first: it starts
  when nothing else runs, or when it has waited a minute and the others were held back for
  it; what is beside it starts again once it has survived half a minute.

Every place in a queue carries a ticket. An item has one valid ticket at most, so whatever
was queued before it was moved, held or removed is passed over when its turn comes.
"""

import heapq
from collections import deque
from collections.abc import Iterable, Sequence

SUSPECT_PATIENCE_SECONDS = 60.0
SUSPECT_SURVIVES_SECONDS = 30.0


class Schedule:
    """The order of work. Times are monotonic seconds, given by the caller."""

    def __init__(self) -> None:
        self._fresh: deque[tuple[int, str]] = deque()
        self._due: deque[tuple[int, str]] = deque()
        self._waiting: list[tuple[float, int, str]] = []
        self._suspects: deque[tuple[int, str, float]] = deque()
        self._tickets: dict[str, int] = {}
        self._later: set[str] = set()  # whose ticket is in _waiting
        self._last_ticket = 0
        self._names: dict[str, str] = {}
        self._queues: dict[str, deque[str]] = {}  # by name: who has it, then who wants it
        self._parked: dict[str, float | None] = {}  # not first of their names; suspects: since
        self._running: set[str] = set()
        self._alone: tuple[str, float] | None = None
        self._retry_next = False

    @property
    def running(self) -> int:
        """Count the items that were given out and not released."""
        return len(self._running)

    @property
    def ready(self) -> int:
        """Count the items whose turn may come now."""
        return len(self._tickets) - len(self._later)

    @property
    def waiting(self) -> int:
        """Count the items that wait for their time."""
        return len(self._later)

    @property
    def idle(self) -> bool:
        """Tell whether nothing runs and nothing could start, now or later."""
        return not (self._running or self._tickets or self._parked)

    def add(self, item_id: str, name: str) -> None:
        """Take in an item, to run when its turn comes."""
        if self._enlist(item_id, name):
            self._fresh.append((self._ticket(item_id), item_id))
        else:
            self._park(item_id, None)

    def add_waiting(self, item_id: str, name: str, due: float) -> None:
        """Take in an item that is not to run before *due*."""
        self._enlist(item_id, name)
        heapq.heappush(self._waiting, (due, self._ticket(item_id), item_id))
        self._later.add(item_id)

    def add_suspect(self, item_id: str, name: str, now: float) -> None:
        """Take in an item that may have killed the program."""
        if self._enlist(item_id, name):
            self._suspects.append((self._ticket(item_id), item_id, now))
        else:
            self._park(item_id, now)

    def next_due(self, now: float) -> float | None:
        """Say when the passing of time alone will make something startable.

        What time has brought is told once: if nobody has room for it, nothing is due.
        """
        if self._pass(now):
            return now
        times = []
        if self._waiting:
            times.append(self._waiting[0][0])
        if self._alone:
            times.append(self._alone[1] + SUSPECT_SURVIVES_SECONDS)
        return min(times, default=None)

    def take(self, count: int, now: float) -> list[str]:
        """Give out up to *count* items to start now; each is running until `release`.

        A suspect comes as the only one of its list, and only when nothing runs.
        """
        self._pass(now)
        while self._suspects and not self._valid(*self._suspects[0][:2]):
            self._suspects.popleft()
        if self._alone or count <= 0:
            return []
        if self._suspects:
            _, item_id, since = self._suspects[0]
            if not self._running:
                self._suspects.popleft()
                self._alone = (item_id, now)
                return self._start([item_id])
            if now - since >= SUSPECT_PATIENCE_SECONDS:
                return []  # what runs may end; then it is alone
        taken: list[str] = []
        while len(taken) < count and (item_id_or_none := self._turn()):
            taken.append(item_id_or_none)
        return self._start(taken)

    def open_to_others(self, now: float) -> bool:
        """Tell whether work that is not in these queues may start now."""
        if self._alone:
            return False
        for ticket, item_id, since in self._suspects:
            if self._valid(ticket, item_id):
                return bool(self._running) and now - since < SUSPECT_PATIENCE_SECONDS
        return True

    def begin(self, ids: Iterable[str]) -> None:
        """Note that such work was given out; `release` it."""
        self._running.update(ids)

    def knows(self, item_id: str) -> bool:
        """Tell whether an item was added and not finished."""
        return item_id in self._names

    def is_alone(self, item_id: str) -> bool:
        """Tell whether *item_id* runs as a suspect, beside nobody."""
        return self._alone is not None and self._alone[0] == item_id

    def at_hand(self, item_id: str) -> bool:
        """Tell whether an item waits here, rather than being given out."""
        return item_id in self._tickets or item_id in self._parked

    def give_back(self, item_ids: Sequence[str]) -> None:
        """Put items that were given out and did not begin to the front again."""
        for item_id in reversed(item_ids):
            self._running.discard(item_id)
            if item_id not in self._names:
                continue  # it is over
            ticket = self._ticket(item_id)
            if self._alone and self._alone[0] == item_id:
                self._suspects.appendleft((ticket, item_id, self._alone[1]))
                self._alone = None
            else:
                self._fresh.appendleft((ticket, item_id))

    def release(self, item_id: str) -> None:
        """Note that an attempt ended and the item goes on: it is to be added again."""
        self._running.discard(item_id)
        if self._alone and self._alone[0] == item_id:
            self._alone = None

    def finish(self, item_id: str) -> None:
        """Forget an item, running or not; the next of its name may start."""
        if item_id not in self._names:  # a part of a job that never stood in a queue here
            self._running.discard(item_id)
            return
        self.release(item_id)
        self._void(item_id)
        self._parked.pop(item_id, None)
        name = self._names.pop(item_id)
        queue = self._queues[name]
        queue.remove(item_id)
        if not queue:
            del self._queues[name]
        elif queue[0] in self._parked:
            self._unpark(queue[0])

    def _start(self, item_ids: list[str]) -> list[str]:
        for item_id in item_ids:
            del self._tickets[item_id]
        self._running.update(item_ids)
        return item_ids

    def _turn(self) -> str | None:
        """Pop the next item that may start: new ones and retries alternate."""
        while self._fresh or self._due:
            first, second = (
                (self._due, self._fresh) if self._retry_next else (self._fresh, self._due)
            )
            self._retry_next = not self._retry_next
            ticket, item_id = (first or second).popleft()
            if not self._valid(ticket, item_id):
                continue
            if self._queues[self._names[item_id]][0] == item_id:
                return item_id
            self._park(item_id, None)
        return None

    def _pass(self, now: float) -> bool:
        """Let time pass until *now*; tell whether that changed anything."""
        survived = self._alone is not None and now >= self._alone[1] + SUSPECT_SURVIVES_SECONDS
        if survived:
            self._alone = None
        woken = False
        while self._waiting and self._waiting[0][0] <= now:
            _, ticket, item_id = heapq.heappop(self._waiting)
            if self._valid(ticket, item_id):
                self._later.discard(item_id)
                self._due.append((ticket, item_id))
                woken = True
        return survived or woken

    def _ticket(self, item_id: str) -> int:
        self._void(item_id)
        self._last_ticket += 1
        self._tickets[item_id] = self._last_ticket
        return self._last_ticket

    def _void(self, item_id: str) -> None:
        self._tickets.pop(item_id, None)
        self._later.discard(item_id)

    def _valid(self, ticket: int, item_id: str) -> bool:
        return self._tickets.get(item_id) == ticket

    def _park(self, item_id: str, since: float | None) -> None:
        self._void(item_id)
        self._parked[item_id] = since

    def _unpark(self, item_id: str) -> None:
        since = self._parked.pop(item_id)
        ticket = self._ticket(item_id)
        if since is None:
            self._fresh.append((ticket, item_id))
        else:
            self._suspects.append((ticket, item_id, since))

    def _enlist(self, item_id: str, name: str) -> bool:
        """Queue up for the name; tell whether the item is first."""
        self._parked.pop(item_id, None)
        if item_id not in self._names:
            self._names[item_id] = name
            self._queues.setdefault(name, deque()).append(item_id)
        return self._queues[name][0] == item_id
