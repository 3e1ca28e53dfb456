"""Take files out of the inbox and put them away, in batches that share their syncs.

Both moves are renames, durable on return in the strictest reading of POSIX: the bytes
(*sync_input*), the name where the file went, and that it left where it was. A single file is
synced with its folders, which waits for nobody else's data; others by one sync of all there is.

What goes along: a file's marker lies beside it in ``active/ID``, and whatever else is found
there when the item is put away (a handler may write beside its input) is put away with it,
into ``done/`` when the item itself is to be deleted. Only the marker of a deleted item and
the scratch folder ``active/ID.work`` are removed: nothing is lost, and the folder is empty.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias

from resumed import durable, origin, shelf, stranger
from resumed.arrival import Ready, identity_of
from resumed.errors import StorageError
from resumed.folders import Claimed, Folders, Shelf
from resumed.prove import prove
from resumed.settings import Paths

FEW = 2

Why: TypeAlias = Literal["vanished", "changed", "open for writing", "unmovable"]
Along: TypeAlias = "Callable[[Sequence[Claimed | Refused]], None] | None"


@dataclass(frozen=True, slots=True)
class Refused:
    """A file that could not be claimed; it is in the inbox as *name*, unless it vanished."""

    name: str
    why: Why
    fault: str = ""


class PutAway(NamedTuple):
    """Say where an item's file goes; None: it is deleted.

    *alone* tells what the item's worker saw: there is nothing else to be put away or removed,
    and nobody holds the folder's lock.
    """

    id: str
    name: str
    to: Shelf | None
    alone: bool = False


@dataclass(slots=True)
class _Batch:
    """What a batch of put-aways has open until its sync."""

    shelves: dict[tuple[str, str], tuple[int, str]] = field(default_factory=dict)
    entries: list[tuple[str, int]] = field(default_factory=list)
    alone: list[str] = field(default_factory=list)

    def close(self, kept_open: Iterable[int]) -> None:
        opened = {fd for fd, _ in self.shelves.values()} - set(kept_open)
        for fd in [*opened, *(fd for _, fd in self.entries)]:
            os.close(fd)


class Spool(Folders):
    """The folders of one instance, with everything that moves files between them."""

    def __init__(
        self,
        paths: Paths,
        *,
        sync_input: bool = True,
        marker_of: Callable[[str], str | None] = lambda _: None,
    ) -> None:
        """Open the folders; *marker_of* tells which file beside an item is its marker."""
        super().__init__(paths)
        self._paths = paths
        self.sync_input = sync_input
        self.marker_of = marker_of

    def prove(self) -> list[str]:
        """Try every move once; see `resumed.prove`, which also names folders that are missing."""
        return prove(self._paths)

    # inbox -> active

    def claim(
        self, ready: Sequence[Ready], ids: Sequence[str], along: Along = None
    ) -> list[Claimed | Refused]:
        """Move files to ``active/ID/NAME`` and close their descriptors; all durable on return.

        One that proves incomplete after its move goes back, perhaps under another name. What
        *along* writes is durable with them, by one sync.
        """
        try:
            answers = [self._claim(one, id_) for one, id_ in zip(ready, ids, strict=True)]
            pairs = zip(ready, answers, strict=True)
            if along is not None:
                along(answers)
            if moved := [(one, its.id) for one, its in pairs if isinstance(its, Claimed)]:
                self._sync_claims(moved, together=along is not None)
        finally:
            for fd in [one.fd for one in ready if one.fd is not None]:
                os.close(fd)
        return answers

    def _claim(self, one: Ready, id_: str) -> Claimed | Refused:
        if "/" not in one.name:
            return self._move_in(one, id_, self.inbox.fd, one.name)
        try:
            folder_fd, last = stranger.enter(self.inbox.fd, one.name)
        except OSError:
            return Refused(one.name, "vanished")
        origin.note(self._active, id_, one.name, one.identity.inode)
        try:
            answer = self._move_in(one, id_, folder_fd, last)
        finally:
            stranger.leave(folder_fd, self.inbox.fd)
        if isinstance(answer, Refused):
            origin.forget(self._active, id_, one.name)
        return answer

    def _move_in(self, one: Ready, id_: str, folder_fd: int, last: str) -> Claimed | Refused:
        self._make_entry(id_)
        entry = f"{id_}/{last}"
        try:
            durable.move(folder_fd, last, self._active, entry)
        except OSError as error:
            self._empty(id_)
            missing = isinstance(error, FileNotFoundError)
            why: Why = "vanished" if missing else "unmovable"
            return Refused(one.name, why, "" if missing else str(error.strerror))
        # The lease before the look: no writer now, and nothing changed until now.
        if one.fd is not None and stranger.has_writer(one.fd):
            return self._move_back(one, id_, folder_fd, last, "open for writing")
        status = stranger.status_at(self._active, entry)
        if identity_of(status) != one.identity or stranger.kind_of(status.st_mode):
            return self._move_back(one, id_, folder_fd, last, "changed")
        if one.marker is not None:
            with suppress(OSError):
                durable.move(folder_fd, one.marker, self._active, f"{id_}/{one.marker}")
        return Claimed(id_, one.name, one.identity, status.st_uid)

    def _move_back(self, one: Ready, id_: str, folder_fd: int, last: str, why: Why) -> Refused:
        """Return a file to where it came from, or to the top when that folder is gone."""
        before = one.name[: -len(last)]
        for fd, prefix in ((folder_fd, before), (self.inbox.fd, "")):
            with suppress(OSError):
                name = durable.move_free(self._active, f"{id_}/{last}", fd, last, id_)
                self._empty(id_)
                return Refused(prefix + name, why)
        return Refused(one.name, "vanished", why)

    def _sync_claims(self, moved: Sequence[tuple[Ready, str]], *, together: bool) -> None:
        if together or len(moved) >= FEW or any(one.fd is None for one, _ in moved):
            durable.sync_filesystem(self._active)
            return
        # From the top: a file must not be in a folder that a power cut takes away.
        durable.sync_folder(self._active)
        for one, id_ in moved:
            if self.sync_input and one.fd is not None:
                # fsync, not fdatasync: the mtime is a part of what makes it the same file.
                durable.sync_folder(one.fd)
            self._sync_entry(id_)
        for folder in {one.name[: one.name.rfind("/") + 1] for one, _ in moved}:
            try:
                stranger.at(self.inbox.fd, folder, lambda fd, _: durable.sync_folder(fd))
            except OSError:  # moved or removed in the meantime, so not to be opened
                durable.sync_filesystem(self._active)

    # active -> done, failed, hold

    def put_away(self, batch: Sequence[PutAway]) -> list[str | None]:
        """Move files out of ``active/``; all durable on return.

        Returns the name that each has below its folder; None when it was deleted, or was no
        longer there.
        """
        work = _Batch()
        try:
            many = len(batch) >= FEW
            kept = [
                self._put_away_alone(one, work) if many and one.alone else self._put_away(one, work)
                for one in batch
            ]
            if many:
                durable.sync_filesystem(self._active)
            else:
                for fd in {fd for fd, _ in work.shelves.values()}:
                    durable.sync_folder(fd)
                for _, fd in work.entries:
                    durable.sync_folder(fd)
            for id_ in work.alone:
                self._keep_spare(id_)
            for id_, fd in work.entries:
                self._recycle(id_, fd)
        finally:
            work.close(folder.fd for folder in self._opened.values())
        for one in batch:
            if not one.alone and one.to != "hold":  # whoever is held goes on where it was
                self.remove_work(one.id)
            origin.forget(self._active, one.id, one.name)
        return kept

    def call_back(self, id_: str, name: str, own: str) -> None:
        """Give a file that came back under a spare name its *own* one again; durable on return."""
        last, wanted = (each[each.rfind("/") + 1 :] for each in (name, own))
        if last != wanted:
            durable.move(self._active, f"{id_}/{last}", self._active, f"{id_}/{wanted}")
            self._sync_entry(id_)

    def retire(self, kept_as: str, id_: str) -> None:
        """Move a file that another one replaced from ``failed/`` to ``done/``, as a spare."""
        folder, slash, last = kept_as.rpartition("/")
        name = f"{folder}{slash}{durable.spare_name(last, id_)}"
        with suppress(FileNotFoundError):
            stranger.at(self.fd("failed"), kept_as, lambda fd, at: self.shelve(fd, at, name, id_))

    def shelve(self, source_fd: int, source: str, name: str, id_: str) -> str:
        """Move a file of ours into ``done/`` as *name*, or a spare name; durable on return.

        Raises:
            FileNotFoundError: There is no such file.
            StorageError: The disk refused.
        """
        before, _, last = name.rpartition("/")
        root_fd = self._current("done")
        folder_fd, prefix = shelf.open_below(root_fd, before, id_)
        try:
            used = durable.move_free(source_fd, source, folder_fd, last, id_)
            durable.sync_folder(folder_fd)
            durable.sync_folder(source_fd)
        finally:
            stranger.leave(folder_fd, root_fd)
        return prefix + used

    def _put_away_alone(self, one: PutAway, work: _Batch) -> str | None:
        """Move or delete the file, and look at nothing else: there is nothing, as was seen."""
        name = one.name[one.name.rfind("/") + 1 :]
        source = f"{one.id}/{name}"
        kept = None
        try:
            if one.to is not None:
                fd, prefix = self._shelf(one, work)
                kept = prefix + durable.move_free(self._active, source, fd, name, one.id)
            elif not shelf.unlinked(self._active, source):
                return self._put_away(one, work)
        except OSError:  # not as it was seen: gone, or replaced by what cannot be moved
            return self._put_away(one, work)
        work.alone.append(one.id)
        return kept

    def _put_away(self, one: PutAway, work: _Batch) -> str | None:
        try:
            entry_fd = durable.open_folder(one.id, dir_fd=self._active)
        except FileNotFoundError:
            return None
        work.entries.append((one.id, entry_fd))
        last, kept = one.name[one.name.rfind("/") + 1 :], None
        for name in stranger.names_in(entry_fd):
            if (
                one.to is None
                and name in (last, self.marker_of(last))
                and shelf.unlinked(entry_fd, name)
            ):
                continue
            fd, prefix = self._shelf(one, work)
            try:
                used = shelf.take(entry_fd, name, fd, one.id)
            except OSError as error:
                if shelf.is_missing(entry_fd, name):  # taken away this very moment
                    continue
                # Also when it is the shelf that is missing: to go on would forget the file.
                raise StorageError(f"{durable.path_of(entry_fd)}/{name}", error) from error
            if name == last and one.to is not None:
                kept = prefix + used
        return kept

    def _shelf(self, one: PutAway, work: _Batch) -> tuple[int, str]:
        """Return the folder that an item goes into, and its name with a slash at the end."""
        root = one.to or "done"
        before = one.name.rpartition("/")[0]
        found = work.shelves.get((root, before))
        if found is None:
            found = shelf.open_below(self._current(root), before, one.id)
            work.shelves[root, before] = found
        return found

    def _current(self, folder: Shelf) -> int:
        """Hold the folder that has the path by now: those who clean up may make it anew."""
        try:
            return self._opened[folder].current()
        except FileNotFoundError as error:
            raise StorageError(str(self._opened[folder].path), error) from error
