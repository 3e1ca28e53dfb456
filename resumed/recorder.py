"""Keep journal and ledger in step, and let nobody be told before the disk knows.

`Recorder.record` changes the ledger and remembers the line; `commit` puts all remembered
lines on the disk with one sync and then does what waited for it (`then`): answers, log
lines, moves. A record that nobody is told of (`record_lazily`) only has to be in the file:
it rides on the next sync.
"""

import os
from collections.abc import Callable
from pathlib import Path

from resumed import compaction, durable
from resumed.errors import JournalCorruptError
from resumed.journal import Journal
from resumed.model import Record
from resumed.settings import Paths


class Recorder:
    """The one writer of the journal, and the ledger that it adds up to."""

    def __init__(
        self, paths: Paths, clock: Callable[[], float], random: Callable[[int], int]
    ) -> None:
        """Open, mend or create the journal in `paths.state`, whose lock must be held.

        *clock* gives seconds since the epoch; *random* that many random bits.

        Raises:
            JournalError: A person must look; nothing was changed.
            StorageError: The disk refused.
        """
        self._clock = clock
        self._random = random
        self._paths = paths
        self._waiting: list[Callable[[], None]] = []
        self._urgent = False
        self.torn: tuple[int, str] | None = None
        self.not_compacted: str | None = None
        if not _exists(paths.journal):
            self._begin()
        self.ledger, reading = compaction.replay(paths.journal)
        if reading.torn:
            self.torn = (
                reading.torn.length_bytes,
                compaction.save_torn(paths.journal, reading.torn),
            )
        _tidy(paths.state)
        self._journal = Journal(paths.journal, reading)
        self._live_bytes = 0 if reading.news else reading.length_bytes
        if reading.news or reading.torn:
            self.compact()

    @property
    def length_bytes(self) -> int:
        """Say how long the journal is."""
        return self._journal.length_bytes

    @property
    def dirty(self) -> bool:
        """Tell whether a record is not on the disk yet."""
        return self._journal.dirty

    @property
    def closed(self) -> bool:
        """Tell whether the journal's end is proved to be on the disk."""
        return self._journal.closed

    @property
    def urgent(self) -> bool:
        """Tell whether somebody is to be told of a record that is not on the disk yet."""
        return self._urgent

    def now(self) -> float:
        """Return the time as records have it, to the millisecond."""
        return round(self._clock() * 1000) / 1000

    def record(self, kind: str, /, **particulars: object) -> None:
        """State a fact that somebody will be told: the next `commit` syncs it."""
        self._record(kind, particulars)
        self._urgent = True

    def record_lazily(self, kind: str, /, **particulars: object) -> None:
        """State a fact that only has to be in the file after the next `commit`."""
        self._record(kind, particulars)

    def _record(self, kind: str, particulars: Record) -> None:
        at = self.now()
        # The ledger first: what it cannot take in must not get into the file.
        self.ledger.apply({**particulars, "kind": kind, "at": at})
        self._journal.append(kind, at, particulars)

    def then(self, action: Callable[[], None]) -> None:
        """Do *action* as soon as everything recorded so far is on the disk."""
        self._waiting.append(action)
        self._urgent = True

    def commit(self) -> bool:
        """Put what was recorded where it has to be; tell whether anything was synced.

        Raises:
            StorageError: The disk refused; end the program, tell nobody.
        """
        if not self._urgent:
            self._journal.write()
            return False
        self._journal.sync()
        self._urgent = False
        actions, self._waiting = self._waiting, []
        for action in actions:
            action()
        return True

    def write(self) -> None:
        """Put what was recorded into the file, for a sync of the whole file system to cover."""
        self._journal.write()

    def note_synced(self) -> None:
        """Take in that there was such a sync, and that nothing was recorded since `write`."""
        self._journal.synced = self._journal.last

    def settle(self) -> None:
        """Commit, and prove the last group synced; for idle times and the end."""
        self.commit()
        self._journal.close_group(self.now())

    def compact(self) -> tuple[int, int] | None:
        """Rewrite the journal; return its length before and after, None where it cannot be.

        Raises:
            StorageError: The disk refused for another reason than lack of space.
        """
        before = self._journal.length_bytes
        if not self._room_for(before):
            self.not_compacted = "too little space"
            return None
        self._journal = compaction.rewrite(
            self._journal, self.ledger, self._generation(), self.now(), self._paths.history
        )
        self._live_bytes = self._journal.length_bytes
        self.not_compacted = None
        return before, self._live_bytes

    def worth_compacting(self, *, at_rest: bool = False) -> bool:
        """Tell whether the dead part of the journal is large, and larger than the live one."""
        return compaction.worth_it(self._journal, self._live_bytes, at_rest=at_rest)

    def close(self) -> None:
        """Close the last group and the file."""
        self.settle()
        self._journal.close()

    def _begin(self) -> None:
        if _exists(self._paths.state / compaction.INITIALISED):
            raise JournalCorruptError(self._paths.journal, 0, "is missing, but was here before")
        compaction.create(self._paths.journal, self._generation(), self.now())

    def _generation(self) -> str:
        return f"{self._random(32):08x}"

    def _room_for(self, length_bytes: int) -> bool:
        """Tell whether the history and a new file, at most as long, fit on the disk."""
        free = os.statvfs(self._paths.state)
        return free.f_bavail * free.f_frsize > 2 * length_bytes + (1 << 20)


def _exists(path: Path) -> bool:
    return os.path.lexists(path)


def _tidy(state: Path) -> None:
    """Note, durably, that there has been a journal: from now on a missing one is a loss."""
    for place in (state, state / "jobs"):
        for left in place.glob(f"{durable.TEMPORARY_PREFIX}*"):
            left.unlink(missing_ok=True)
    if _exists(state / compaction.INITIALISED):
        return
    folder = durable.open_folder(state)
    try:
        durable.write_whole(folder, compaction.INITIALISED, b"")
        durable.sync_folder(folder)
    finally:
        os.close(folder)
