"""Take ready files out of the inbox, under the ids that their records will bear.

How many are claimed ahead of the workers follows the demand: four times as many as before
when half of them were used in a quarter of a second, half as many when claims lay unused for
a second. So slow items leave the inbox when their turn is near, and quick ones share one sync
by the hundreds.
"""

from collections.abc import Callable, Sequence

from resumed.arrival import Ready
from resumed.entry import Entry
from resumed.folders import Claimed
from resumed.intake import Refused
from resumed.model import Failed, Fault, Identity
from resumed.recorder import Recorder
from resumed.spool import Spool

MOST_AHEAD = 256
QUICK_SECONDS = 0.25
UNUSED_SECONDS = 1.0


class Claims:
    """The claims of one inbox."""

    def __init__(
        self,
        spool: Spool,
        recorder: Recorder,
        *,
        workers: int,
        mint: Callable[[], str],
        forget_note: Callable[[str, str], None],
    ) -> None:
        """Claim at least two items ahead for each of *workers*; *mint* makes ids."""
        self._spool = spool
        self._recorder = recorder
        self._least = 2 * workers
        self._mint = mint
        self._forget_note = forget_note
        self._ahead = self._least
        self._full_since: float | None = None

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
        known = [self._recorder.ledger.kept.get(file.identity) for file in files]
        ids = [item_id or self._mint() for item_id in known]
        entries = []
        for claimed in self._spool.claim(files, ids):
            if isinstance(claimed, Claimed):
                entry = self._record(claimed)
                fault = faults.get(claimed.name)
                entries.append((entry, Fault("unreadable", fault) if fault else None))
        return entries

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
