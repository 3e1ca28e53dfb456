"""Look after journal and folders between the items: close groups, compact, miss files."""

import math
from collections.abc import Callable, Container

from resumed.model import Failed, Held
from resumed.reconcile import Reconciler
from resumed.recorder import Recorder

CLOSE_GROUP_SECONDS = 0.5
COMPACT_AGAIN_SECONDS = 60.0


class Upkeep:
    """What has to be done now and then. Times are monotonic seconds."""

    def __init__(
        self, recorder: Recorder, reconciler: Reconciler, tell: Callable[..., None]
    ) -> None:
        self.due: float | None = None
        self._recorder = recorder
        self._reconciler = reconciler
        self._tell = tell
        self._missing: set[str] = set()
        self._compact_at = -math.inf
        self._told = ""

    def turn(self, now: float, *, synced: bool) -> None:
        """Prove the last group synced once nothing was added for a while; compact if due.

        While nothing happens, a little growth is reason enough: that costs nobody time, and
        the next start finds less to read.
        """
        at_rest = False
        if self._recorder.closed:
            self.due = None
        elif synced or self.due is None:
            self.due = now + CLOSE_GROUP_SECONDS
        elif now >= self.due:
            self.due = None
            self._recorder.settle()
            at_rest = True
        if now >= self._compact_at and self._recorder.worth_compacting(at_rest=at_rest):
            self._compact(now)

    def end(self) -> None:
        """Leave a journal that the next start reads in no time."""
        if self._recorder.worth_compacting(at_rest=True):
            self._compact(-math.inf)

    def miss(self, arriving: Container[int]) -> None:
        """End items whose file a person deleted from failed/ or hold/.

        Not at first sight, because it may be on its way back into the inbox, and not while
        its inode is among those *arriving* there.
        """
        missing = set()
        for entry in list(self._recorder.ledger.items.values()):
            if entry.identity.inode in arriving:
                continue
            if isinstance(entry.state, Failed | Held) and self._reconciler.misses(entry):
                if entry.id in self._missing:
                    self._reconciler.lose(entry, "its file was taken away")
                else:
                    missing.add(entry.id)
        self._missing = missing

    def _compact(self, now: float) -> None:
        """Rewrite the journal; where that cannot be, say why once and try again after a while."""
        lengths = self._recorder.compact()
        if lengths is not None:
            self._told = ""
            self._tell("compacted", before=lengths[0], after=lengths[1])
            return
        self._compact_at = now + COMPACT_AGAIN_SECONDS
        why = self._recorder.not_compacted or ""
        if why != self._told:
            self._told = why
            self._tell("not_compacted", why=why)
