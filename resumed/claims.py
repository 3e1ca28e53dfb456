"""Take ready files out of the inbox, under the ids that their records will bear.

How many are claimed ahead of the workers follows the demand: four times as many as before
when half of them were used in a quarter of a second, half as many when claims lay unused for
a second. So slow items leave the inbox when their turn is near, and quick ones share one sync
by the hundreds.

Where one sync of the file system covers inputs, folders and journal, the records of a batch
ride on the sync of its files. A single file would then wait for everybody's data on that disk;
so it goes whichever way was the quicker of late.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress

from resumed.arrival import Ready
from resumed.entry import Entry
from resumed.errors import StorageError
from resumed.folders import Claimed
from resumed.intake import Refused
from resumed.model import Failed, Fault, Identity
from resumed.recorder import Recorder
from resumed.spool import FEW, Spool
from resumed.spool import Refused as Unclaimed

MOST_AHEAD = 256
QUICK_SECONDS = 0.25
UNUSED_SECONDS = 1.0
UNMOVABLE_TOLD = 1000
SMOOTHING = 4
FORGETTING = 0.97


class Way:
    """Choose between two ways by the times that they took; the other is tried now and then."""

    def __init__(self) -> None:
        self.together = True
        self._seconds = {True: 0.0, False: 0.0}

    def learn(self, seconds: float) -> None:
        """Learn how long the way that was chosen took, and choose the next."""
        here, there = self.together, not self.together
        self._seconds[here] += (seconds - self._seconds[here]) / SMOOTHING
        self._seconds[there] *= FORGETTING
        self.together = self._seconds[True] <= self._seconds[False]


class Claims:
    """The claims of one inbox."""

    def __init__(  # noqa: PLR0913 - the parts that meet here
        self,
        spool: Spool,
        recorder: Recorder,
        *,
        workers: int,
        mint: Callable[[], str],
        forget_note: Callable[[str, str], None],
        clock: Callable[[], float],
        one_sync: bool,
        tell: Callable[..., None],
    ) -> None:
        """Claim at least two items ahead for each of *workers*; *mint* makes ids.

        *one_sync* says that the journal is where one sync covers it; *clock* is monotonic.
        """
        self._tell = tell
        self._unmovable: set[str] = set()
        self._spool = spool
        self._recorder = recorder
        self._least = 2 * workers
        self._mint = mint
        self._forget_note = forget_note
        self._ahead = self._least
        self._full_since: float | None = None
        self._clock = clock
        self._one_sync = one_sync
        self._way = Way()

    def room(self, ready: int, now: float) -> int:
        """Say how many files may be claimed, when *ready* items wait for a worker."""
        if ready >= self._ahead // 2:
            if self._full_since is not None and now - self._full_since > UNUSED_SECONDS:
                self._ahead = max(self._ahead // 2, self._least)
                self._full_since = now
            return 0
        return self._ahead - ready

    def claim(
        self, batch: Sequence[Ready | Refused], now: float
    ) -> list[tuple[Entry, Fault | None]]:
        """Claim a batch; its files are in ``active/`` and durable when this returns.

        The records are made, in the order of the batch. A file that failed before keeps its
        id and its recorded steps. Returns the entries, with a fault when nobody may read it.
        """
        quick = self._full_since is not None and now - self._full_since < QUICK_SECONDS
        if quick and 2 * len(batch) > self._ahead:
            self._ahead = min(self._ahead * 4, MOST_AHEAD)
        self._full_since = now
        files = [each.ready if isinstance(each, Refused) else each for each in batch]
        faults = {each.ready.name: each.fault for each in batch if isinstance(each, Refused)}
        known = self._known(files)
        ids = [known.get(number) or self._mint() for number in range(len(files))]
        entries: list[tuple[Entry, Fault | None]] = []

        def note(answers: Sequence[Claimed | Unclaimed]) -> None:
            entries.extend(
                self._taken(each, faults) for each in answers if isinstance(each, Claimed)
            )
            self._complain(each for each in answers if isinstance(each, Unclaimed))
            self._recorder.write()

        began, single = self._clock(), len(files) < FEW
        # A file that failed before may be moved once more before its record.
        if not self._one_sync or known:
            note(self._spool.claim(files, ids))
        elif single and not self._way.together:
            note(self._spool.claim(files, ids))
            self._recorder.commit()
            self._way.learn(self._clock() - began)
        else:
            self._spool.claim(files, ids, note)
            if entries:
                self._recorder.note_synced()
            if single:
                self._way.learn(self._clock() - began)
        return entries

    def _known(self, files: Sequence[Ready]) -> dict[int, str]:
        """Find the failed items that came back: the place in *files*, and the id, of each.

        A second link to a file is no file that came back: while the first one is in
        ``failed/``, and beside another that comes at the same time.
        """
        ids = map(self._recorder.ledger.kept.get, (file.identity for file in files))
        places = {item_id: place for place, item_id in enumerate(ids) if item_id is not None}
        return {place: item_id for item_id, place in places.items() if self._left(item_id)}

    def _left(self, item_id: str) -> bool:
        """Tell whether a failed item's file is no longer in ``failed/``."""
        entry = self._recorder.ledger.items[item_id]
        with suppress(StorageError):  # who may not look there cannot tell
            return self._spool.find_kept("failed", str(entry.kept_as)) != entry.identity
        return True

    def _complain(self, unclaimed: Iterable[Unclaimed]) -> None:
        """Tell of each file that cannot be moved, once: it is found again at each scan."""
        for each in unclaimed:
            known = each.name in self._unmovable or len(self._unmovable) >= UNMOVABLE_TOLD
            if each.why == "unmovable" and not known:
                self._unmovable.add(each.name)
                self._tell("unmovable", name=each.name, why=each.fault)

    def _taken(self, claimed: Claimed, faults: Mapping[str, str]) -> tuple[Entry, Fault | None]:
        fault = faults.get(claimed.name)
        return self._record(claimed), Fault("unreadable", fault) if fault else None

    def _record(self, claimed: Claimed) -> Entry:
        items = self._recorder.ledger.items
        entry = items.get(claimed.id)
        if entry is not None and isinstance(entry.state, Failed):
            # Before the record: a retried item whose file has another name would be gone.
            self._spool.call_back(entry.id, claimed.name, entry.name)
            if entry.kept_as is not None:
                self._forget_note(entry.kept_as, entry.id)
            self._recorder.record("retried", id=claimed.id, fresh=False)
            return entry
        # Durable before the first attempt, which is told the key: without this record a power
        # cut would have the file adopted under another one.
        self._recorder.record("claimed", **particulars(claimed))
        return items[claimed.id]


def particulars(claimed: Claimed) -> dict[str, object]:
    """Say what the record of a claim says."""
    identity: Identity = claimed.identity
    return {
        "id": claimed.id,
        "name": claimed.name,
        "inode": identity.inode,
        "size": identity.size,
        "mtime_ns": identity.mtime_ns,
        "owner": claimed.owner,
    }
