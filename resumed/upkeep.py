"""Look after journal and folders between the items: close groups, compact, miss files."""

from collections.abc import Callable, Container

from resumed.model import Failed, Held
from resumed.reconcile import Reconciler
from resumed.recorder import Recorder

CLOSE_GROUP_SECONDS = 0.5


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

    def turn(self, now: float, *, synced: bool) -> None:
        """Prove the last group synced once nothing was added for a while; compact if due."""
        if self._recorder.closed:
            self.due = None
        elif synced or self.due is None:
            self.due = now + CLOSE_GROUP_SECONDS
        elif now >= self.due:
            self.due = None
            self._recorder.settle()
        if self._recorder.worth_compacting():
            self._compact()

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
                    self._recorder.record("gone", id=entry.id, why="its file was taken away")
                else:
                    missing.add(entry.id)
        self._missing = missing

    def _compact(self) -> None:
        lengths = self._recorder.compact()
        if lengths is None:
            self._tell("not_compacted", why=self._recorder.not_compacted)
        else:
            self._tell("compacted", before=lengths[0], after=lengths[1])
