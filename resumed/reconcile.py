"""Bring every file to where the ledger says it belongs.

A state is a folder, and the record comes before the move. So whoever finds an item whose
file is elsewhere knows what remains to be done, and does just that: a start after a crash,
and a request that has just changed an item's state, are the same case.

    pending, waiting   active/ID/NAME    fetched from failed/ or hold/, or the inbox
    held               hold/AS           put there
    failed             failed/AS         put there, with its sidecar
    done               done/AS           put there, or unlinked
    removed            nowhere           unlinked
"""

from collections.abc import Callable, Iterable, Sequence

from resumed import sidecar
from resumed.entry import Entry
from resumed.model import Done, Failed, Held, Removed
from resumed.recorder import Recorder
from resumed.spool import PutAway, Spool


class Reconciler:
    """Move files after their records, in batches that share their syncs."""

    def __init__(
        self,
        spool: Spool,
        recorder: Recorder,
        render: Callable[[Entry, str], bytes],
        *,
        delete_done: bool,
    ) -> None:
        """*render* writes the sidecar of a failed item, given its name in ``failed/``."""
        self._spool = spool
        self._recorder = recorder
        self._render = render
        self._delete_done = delete_done

    def put_away(self, entries: Sequence[Entry]) -> None:
        """Move the files of ended, held and removed items; all of it is durable on return.

        The record ``put_away`` is made, and may be lost: then the next start finds the file
        where it belongs.
        """
        moves = [PutAway(entry.id, entry.name, self._destination(entry)) for entry in entries]
        for entry, kept_as in zip(entries, self._spool.put_away(moves), strict=True):
            self._told(entry, kept_as)

    def fetch(self, entry: Entry) -> bool:
        """Make sure that the file of an item that is to run is in ``active/``.

        Returns False when it is nowhere; then the item is gone, and recorded so.
        """
        if self._spool.identity(entry.id, entry.name) is not None:
            return True
        for folder in ("failed", "hold"):
            if entry.kept_as and self._spool.take_back(
                folder, entry.kept_as, entry.id, entry.name, entry.identity
            ):
                if folder == "failed":
                    self._spool.remove_sidecar(entry.kept_as, entry.id)
                return True
        if self._spool.reclaim(entry.id, entry.name, entry.identity):
            return True
        self._recorder.record("gone", id=entry.id, why="it is in none of our folders")
        return False

    def settle(self, entry: Entry) -> None:
        """Finish what a crash interrupted after the record of an outcome, a hold or a removal."""
        match entry.state:
            case Held(_, _, kept_as) | Failed(_, _, _, _, _, kept_as) if kept_as:
                return
            case _ if self._spool.identity(entry.id, entry.name) is not None:
                self.put_away([entry])
            case Removed() if entry.kept_as:
                self._spool.unlink_kept(entry.kept_as, entry.identity)
                self._told(entry, None)
            case _:
                folder = self._destination(entry)
                found = folder and self._spool.search(folder, entry.id, entry.name, entry.identity)
                self._told(entry, found or None)

    def _destination(self, entry: Entry) -> str | None:
        match entry.state:
            case Done():
                return None if self._delete_done else "done"
            case Failed():
                return "failed"
            case Held():
                return "hold"
            case _:
                return None

    def _told(self, entry: Entry, kept_as: str | None) -> None:
        if isinstance(entry.state, Failed) and kept_as is not None:
            self._spool.place_sidecar(kept_as, entry.id, self._render(entry, kept_as))
        self._recorder.record_lazily("put_away", id=entry.id, **{"as": kept_as})


def adopt(spool: Spool, recorder: Recorder, known: Iterable[str], mint: Callable[[], str]) -> None:
    """Take in files in ``active/`` that no record speaks of: their claim was not recorded.

    They get a new id, because the folder they are in may bear that of an item long over.
    """
    ids = set(known)
    for folder, names in spool.active_entries():
        entry = recorder.ledger.items.get(folder)
        for name in names:
            if folder in ids and entry is not None and name == entry.name.rpartition("/")[2]:
                continue
            claim = spool.adopt(folder, name, mint())
            if claim is not None:
                recorder.record("claimed", **claim)
    del sidecar
