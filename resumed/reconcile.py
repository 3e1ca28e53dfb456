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

import os
from collections.abc import Callable, Container, Sequence
from contextlib import suppress

from resumed import durable, sidecar, stranger, verdict
from resumed.entry import Entry
from resumed.errors import StorageError
from resumed.folders import Shelf
from resumed.model import Done, Failed, Fault, Held, Identity, Removed
from resumed.recorder import Recorder
from resumed.spool import PutAway, Spool

_NOTE_BYTES = 64 << 10


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
        self.delete_done = delete_done
        self._spool = spool
        self._recorder = recorder
        self._render = render

    def put_away(self, entries: Sequence[Entry], alone: Container[str] = ()) -> None:
        """Move the files of ended, held and removed items; all of it is durable on return.

        *alone* are the ids of those that left nothing else, as their workers saw.

        The record ``put_away`` is made, and may be lost: then the next start finds the file
        where it belongs.
        """
        moves = [
            PutAway(entry.id, entry.name, self._destination(entry), entry.id in alone)
            for entry in entries
        ]
        for entry, kept_as in zip(entries, self._spool.put_away(moves), strict=True):
            self._told(entry, kept_as)

    def fetch(self, entry: Entry) -> bool:
        """Make sure that the file of an item that is to run is in ``active/``.

        Returns False when it is nowhere; then the item is gone, and recorded so. One that
        cannot be moved stays where it is, failed or held.
        """
        if self._spool.identity(entry.id, entry.name) is not None:
            self._forget_note(entry)
            self._finish_replacing(entry)
            return True
        where: tuple[Shelf, ...] = ("failed", "hold")
        for folder in where if entry.kept_as else ():
            kept_as = str(entry.kept_as)
            if self._take_back(folder, kept_as, entry, entry.identity):
                return True
        if self._spool.reclaim(entry.id, entry.name, entry.identity, entry.kept_as):
            self._forget_note(entry)
            self._finish_replacing(entry)
            return True
        if self._take_changed(entry, where):
            return True
        for folder in where if entry.kept_as else ():
            if self._may_be_in(folder, entry):
                self._stay(entry, folder)
                return False
        self.lose(entry, "its file is in none of our folders")
        return False

    def _take_changed(self, entry: Entry, where: Sequence[Shelf]) -> bool:
        """Take what a person made of a kept file, by an editor or from a backup, as a new file."""
        for folder in where if entry.kept_as else ():
            kept_as = str(entry.kept_as)
            with suppress(StorageError):
                found = self._spool.find_kept(folder, kept_as)
                if found is None or self._is_anothers(folder, kept_as, entry):
                    continue
                if self._take_back(folder, kept_as, entry, found):
                    about = {"id": entry.id, "name": entry.name, "owner": entry.owner}
                    self._recorder.record("claimed", **about, **found._asdict(), replaced=True)
                    return True
        return False

    def _take_back(self, folder: Shelf, kept_as: str, entry: Entry, identity: Identity) -> bool:
        """Fetch a kept file, if it is still that one, with its marker; its note goes."""
        if not self._spool.take_back(folder, kept_as, entry.id, entry.name, identity):
            return False
        active = self._spool.fd("active")
        marker = self._spool.marker_of(entry.name.rpartition("/")[2])
        self._with_marker(
            folder,
            kept_as,
            entry,
            lambda fd, at: durable.move(fd, at, active, f"{entry.id}/{marker}"),
        )
        if folder == "failed":
            self.remove_sidecar(kept_as, entry.id)
        return True

    def _with_marker(
        self, folder: Shelf, kept_as: str, entry: Entry, deed: Callable[[int, str], None]
    ) -> None:
        """Do something to the marker beside a kept file, if there is one that is its own."""
        marker = self._spool.marker_of(entry.name.rpartition("/")[2])
        if marker is None:
            return
        before = kept_as[: kept_as.rfind("/") + 1]
        spare = durable.spare_name(marker, entry.id)
        # One of the plain name beside a file of a spare name is that of another file.
        for name in (spare, marker) if kept_as == entry.name else (spare,):
            with suppress(OSError):
                stranger.at(self._spool.fd(folder), before + name, deed)
                return

    def _is_anothers(self, folder: Shelf, kept_as: str, entry: Entry) -> bool:
        return any(
            each.kept_as == kept_as and self._destination(each) == folder
            for each in self._recorder.ledger.items.values()
            if each is not entry
        )

    def _forget_note(self, entry: Entry) -> None:
        """Unlink the note that a crash left in ``failed/`` after its file had been fetched."""
        kept_as = entry.kept_as
        if kept_as is not None and self._spool.find_kept("failed", kept_as) is None:
            self.remove_sidecar(kept_as, entry.id)

    def _finish_replacing(self, entry: Entry) -> None:
        """Retire the file that a job had before, if a crash left it or its note in ``failed/``."""
        for kept_as in (entry.name, durable.spare_name(entry.name, entry.id)):
            if entry.job and self._is_noted(kept_as, entry):
                self._spool.retire(kept_as, entry.id)
                self.remove_sidecar(kept_as, entry.id)

    def _is_noted(self, kept_as: str, entry: Entry) -> bool:
        """Tell whether a note in ``failed/`` says that the file of this name is the item's."""
        fd = self._spool.fd("failed")
        places = (kept_as, durable.spare_name(kept_as, entry.id))
        notes = (_note_at(fd, sidecar.name_for(each)) for each in places)
        noted = any(sidecar.is_about(each, entry.id, kept_as) for each in notes)
        return noted and not self._is_anothers("failed", kept_as, entry)

    def _stay(self, entry: Entry, folder: Shelf) -> None:
        """Record that a file was not let go, so that its item is what it was."""
        why = f"its file cannot be moved out of {folder}/"
        if folder == "hold":
            self._recorder.record("held", id=entry.id, why=why)
        else:
            fact = verdict.failure(entry, Fault("unmovable", why), self._recorder.now())
            self._recorder.record(fact.kind, **fact.particulars)

    def _may_be_in(self, folder: Shelf, entry: Entry) -> bool:
        try:
            return self._spool.find_kept(folder, str(entry.kept_as)) == entry.identity
        except StorageError:
            return True

    def settle(self, entry: Entry) -> None:
        """Finish what a crash interrupted after the record of an outcome, a hold or a removal."""
        at_work = self._spool.identity(entry.id, entry.name) is not None
        match entry.state:
            case Failed(_, _, _, _, _, kept_as) if kept_as is not None:
                self._find_again(entry)
            case Held(_, _, kept_as) if kept_as is not None and not at_work:
                self._find_again(entry)
            case _ if at_work:
                self.put_away([entry])
            case Removed() if entry.kept_as is not None:
                self._remove_kept(entry, entry.kept_as)
            case _:
                shelf = self._destination(entry)
                found = shelf and self._spool.search(shelf, entry.id, entry.name, entry.identity)
                if not isinstance(entry.state, Held):
                    self._spool.remove_work(entry.id)
                self._told(entry, found or None)

    def _find_again(self, entry: Entry) -> None:
        """Find an item that was kept before, and put away once more under another name."""
        shelf: Shelf = "failed" if isinstance(entry.state, Failed) else "hold"
        with suppress(StorageError):  # a folder that is closed to us: it is there, for all we know
            if self._spool.find_kept(shelf, str(entry.kept_as)) != entry.identity:
                found = self._spool.search(shelf, entry.id, entry.name, entry.identity)
                if found is not None:
                    self._told(entry, found)

    def lose(self, entry: Entry, why: str) -> None:
        """Record that an item's file is gone; no note about it stays in ``failed/``."""
        self._recorder.record("gone", id=entry.id, why=why)
        if entry.kept_as is not None:
            self.remove_sidecar(entry.kept_as, entry.id)

    def misses(self, entry: Entry) -> bool:
        """Tell whether a failed or held item's file is no longer where it was put."""
        shelf: Shelf = "failed" if isinstance(entry.state, Failed) else "hold"
        try:
            return entry.kept_as is not None and self._spool.find_kept(shelf, entry.kept_as) is None
        except StorageError:  # a folder that is closed to us: its files are not missing
            return False

    def remove_sidecar(self, kept_as: str, item_id: str) -> None:
        """Unlink the note beside a file that leaves ``failed/``; only a note of ours."""
        for name in (kept_as, durable.spare_name(kept_as, item_id)):
            with suppress(OSError):
                stranger.at(
                    self._spool.fd("failed"),
                    sidecar.name_for(name),
                    lambda folder_fd, last: _unlink_note(folder_fd, last, item_id),
                )

    def _destination(self, entry: Entry) -> Shelf | None:
        match entry.state:
            case Done():
                return None if self.delete_done else "done"
            case Failed():
                return "failed"
            case Held():
                return "hold"
            case _:
                return None

    def _remove_kept(self, entry: Entry, kept_as: str) -> None:
        shelves: tuple[Shelf, ...] = ("failed", "hold")
        for shelf in shelves:
            if self._spool.unlink_kept(shelf, kept_as, entry.identity):
                self._with_marker(
                    shelf, kept_as, entry, lambda fd, last: os.unlink(last, dir_fd=fd)
                )
                self.remove_sidecar(kept_as, entry.id)
                break
        # Perhaps it was unlinked before a crash, and its note was not.
        if self._spool.find_kept("failed", kept_as) is None and self._is_noted(kept_as, entry):
            self.remove_sidecar(kept_as, entry.id)
        self._spool.remove_work(entry.id)
        self._told(entry, None)

    def _told(self, entry: Entry, kept_as: str | None) -> None:
        if isinstance(entry.state, Failed | Held) and kept_as is None:
            self._recorder.record("gone", id=entry.id, why="its file was taken away")
            return
        if isinstance(entry.state, Failed) and kept_as is not None:
            self._place_sidecar(entry, kept_as)
        self._recorder.record_lazily("put_away", id=entry.id, **{"as": kept_as})

    def _place_sidecar(self, entry: Entry, kept_as: str) -> None:
        content = self._render(entry, kept_as)
        fd = self._spool.fd("failed")
        for name in (kept_as, durable.spare_name(kept_as, entry.id)):
            if _note_at(fd, sidecar.name_for(name)) == content[:_NOTE_BYTES]:
                return  # by a start that a crash ended before its record
            with suppress(FileExistsError):
                stranger.at(
                    fd,
                    sidecar.name_for(name),
                    lambda folder_fd, last: durable.place(folder_fd, last, content),
                )
                return


def _note_at(root_fd: int, name: str) -> bytes:
    """Read what may be a note; nothing when it cannot be read."""
    with suppress(OSError):
        file = stranger.at(root_fd, name, stranger.open_file)
        try:
            return os.read(file, _NOTE_BYTES)
        finally:
            os.close(file)
    return b""


def _unlink_note(folder_fd: int, last: str, item_id: str) -> None:
    file = stranger.open_file(folder_fd, last)
    try:
        content = os.read(file, _NOTE_BYTES)
    finally:
        os.close(file)
    if sidecar.is_sidecar(content) and not sidecar.is_anothers(content, item_id):
        os.unlink(last, dir_fd=folder_fd)
