"""Hold the folders of one spool open, and move single files between them.

An item in work lies in ``active/ID/NAME``. Making and removing a folder costs ten times what
a rename does, so an emptied one stays as a spare, under its old ID, and is renamed for the
next item: the ID in the path of a file that no record knows says nothing about the file.

Every function here looks before it moves, never follows a symlink, and has made durable what
it did when it returns.
"""

import os
import re
from collections.abc import Container, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

from resumed import durable, litter, mounts, origin, shelf, sight, stranger
from resumed.arrival import identity_of
from resumed.errors import ConfigError, LockedError, Mistake, StorageError
from resumed.model import Identity
from resumed.settings import Paths
from resumed.stranger import Folder

Shelf: TypeAlias = Literal["hold", "done", "failed"]

SPARES_KEPT = 1024
WORK_SUFFIX = ".work"
MORE = "; 'resumed check' tells more"
NO_ORIGINS: Mapping[int, str] = {}

_ID = re.compile(r"[0-9a-f]{11}-[0-9a-f]{10}")


class Claimed(NamedTuple):
    """A file that is ours now, at ``active/ID/NAME``, and durably so."""

    id: str
    name: str
    identity: Identity
    owner: int


class Folders:
    """The inbox and our own folders, by descriptors; no path is resolved twice."""

    def __init__(self, paths: Paths) -> None:
        """Open everything.

        Raises:
            ConfigError: Folders are missing, are symlinks or are closed to us, all are named;
                or they are on other mounts, so that nothing could be moved.
        """
        mistakes = []
        opened: dict[str, Folder] = {}
        for name in ("inbox", "active", "hold", "done", "failed", "out"):
            path = Path(getattr(paths, name))
            try:
                opened[name] = Folder(path)
            except OSError as error:
                remedy = f"make it, or mend [paths]{MORE}"
                mistakes.append(Mistake(path, 0, f"{_said(error)}: {remedy}"))
        if not mistakes:
            apart = (each.path for each in opened.values() if mounts.apart(each.path, paths.active))
            mistakes = [Mistake(path, 0, mounts.APART) for path in apart]
        if mistakes:
            for folder in opened.values():
                folder.close()
            raise ConfigError(tuple(mistakes))
        self.inbox = opened["inbox"]
        self._opened = opened
        self._active = opened["active"].fd
        self._spares: dict[str, None] = {}

    def fd(self, folder: Literal["active", "hold", "done", "failed", "out"]) -> int:
        """Return the descriptor of a folder of ours, which stays ours to close."""
        return self._opened[folder].fd

    def close(self) -> None:
        """Remove the spare folders and let go of the others."""
        self.tidy()
        for folder in self._opened.values():
            folder.close()

    def tidy(self) -> None:
        """Remove the spare folders, for an idle moment."""
        while self._spares:
            with suppress(OSError):
                os.rmdir(self._spares.popitem()[0], dir_fd=self._active)

    def active_entries(self) -> list[tuple[str, list[str]]]:
        """List what lies in ``active/``, by ID, oldest first; empty folders become spares."""
        entries = []
        for folder in sorted(filter(_ID.fullmatch, stranger.names_in(self._active))):
            try:
                fd = durable.open_folder(folder, dir_fd=self._active)
            except OSError:  # a file or a symlink that somebody put there
                continue
            names = sorted(stranger.names_in(fd))
            if names:
                entries.append((folder, names))
            else:
                self._recycle(folder, fd)
            os.close(fd)
        return entries

    def sweep(self, live: Container[str]) -> None:
        """Remove scratch folders and notes of items not *live*, and half-made sidecars."""
        shelf.sweep(self.fd("failed"))
        origin.sweep(self._active, live)
        for folder in stranger.names_in(self._active):
            id_ = folder.removesuffix(WORK_SUFFIX)
            if id_ != folder and _ID.fullmatch(id_) and id_ not in live:
                self.remove_work(id_)

    def identity(self, id_: str, name: str) -> Identity | None:
        """Look at an item's file in ``active/``; None when it is gone, or no file.

        A folder that its handler closed is opened: what is in there is not gone.

        Raises:
            StorageError: The disk, or a folder that stays closed, does not show it.
        """
        return sight.identity_in(self._active, id_, _last(name))

    def find_kept(self, folder: Shelf, kept_as: str) -> Identity | None:
        """Look at a file that was put away; None when it is gone, or no file."""
        return shelf.find(self.fd(folder), kept_as)

    def search(self, folder: Shelf, id_: str, name: str, identity: Identity) -> str | None:
        """Find under which name a move that was not recorded has put a file away."""
        return shelf.search(self.fd(folder), id_, name, identity)

    def take_back(
        self, folder: Shelf, kept_as: str, id_: str, name: str, identity: Identity
    ) -> bool:
        """Move a file that was put away to ``active/ID/NAME``, if it is still that file."""
        return self._fetch(self.fd(folder), kept_as, id_, name, identity)

    def reclaim(self, id_: str, name: str, identity: Identity, kept_as: str | None = None) -> bool:
        """Move a file to ``active/ID/NAME``, if it is the item's very file.

        It may be in the inbox, by its own name or as it was kept, or, when it is to replace
        another, in the scratch folder.
        """
        places = [(self.inbox.fd, each) for each in dict.fromkeys((name, kept_as or name))]
        places.append((self._active, f"{id_}{WORK_SUFFIX}/with"))
        return any(self._fetch(fd, place, id_, name, identity) for fd, place in places)

    def origins(self) -> dict[int, str]:
        """Return from which subfolders files were claimed, by their inodes."""
        return origin.folders(self._active)

    def adopt(
        self,
        folder: str,
        name: str,
        id_: str,
        marker: str | None = None,
        origins: Mapping[int, str] = NO_ORIGINS,
    ) -> Claimed | None:
        """Move a file, and its marker, from one entry of ``active/`` to that of a new ID.

        Returns None for what is no regular file; it stays where it is.
        """
        status = sight.status_at(self._active, f"{folder}/{name}")
        if status is None or stranger.kind_of(status.st_mode):
            return None
        self._make_entry(id_)
        durable.move(self._active, f"{folder}/{name}", self._active, f"{id_}/{name}")
        if marker is not None:
            with suppress(FileNotFoundError):
                durable.move(self._active, f"{folder}/{marker}", self._active, f"{id_}/{marker}")
        durable.sync_filesystem(self._active)
        with suppress(FileNotFoundError):
            self._empty(folder)
        whole_name = origins.get(status.st_ino, "") + name
        return Claimed(id_, whole_name, identity_of(status), status.st_uid)

    def unlink_kept(self, folder: Shelf, kept_as: str, identity: Identity) -> bool:
        """Unlink a file that was put away, if it is still that file."""
        return shelf.unlink(self.fd(folder), kept_as, identity)

    def _fetch(self, root_fd: int, source: str, id_: str, name: str, identity: Identity) -> bool:
        target = f"{id_}/{_last(name)}"

        def fetch(folder_fd: int, last: str) -> bool:
            if sight.identity_at(folder_fd, last) != identity:
                return False
            self._make_entry(id_)
            durable.move(folder_fd, last, self._active, target)
            if sight.identity_at(self._active, target) != identity:  # swapped under our eyes
                durable.move_free(self._active, target, folder_fd, last, id_)
                return False
            durable.sync_folder(self._active)
            self._sync_entry(id_)
            durable.sync_folder(folder_fd)
            return True

        try:
            return stranger.at(root_fd, source, fetch)
        except OSError as error:
            sight.none_or_raise(error, root_fd, source)
            return False

    def _make_entry(self, id_: str) -> None:
        """Make sure that there is ``active/ID``, best from a spare folder; not durable yet."""
        if id_ in self._spares:  # the item was here before
            del self._spares[id_]
            return
        while self._spares:
            spare, _ = self._spares.popitem()
            try:
                durable.move_folder(self._active, spare, id_)
            except FileNotFoundError:
                continue
            except OSError:  # it is there, with something in it
                self._spares[spare] = None
            return
        try:
            with suppress(FileExistsError):
                os.mkdir(id_, 0o700, dir_fd=self._active)
        except OSError as error:
            raise StorageError(durable.path_of(self._active), error) from error

    def _sync_entry(self, id_: str) -> None:
        fd = durable.open_file(self._active, id_, os.O_RDONLY | os.O_DIRECTORY)
        try:
            durable.sync_folder(fd)
        finally:
            os.close(fd)

    def _empty(self, id_: str) -> None:
        """Recycle the folder of an entry, unless something is left in it."""
        fd = durable.open_folder(id_, dir_fd=self._active)
        try:
            if not stranger.names_in(fd):
                self._recycle(id_, fd)
        finally:
            os.close(fd)

    def _recycle(self, id_: str, fd: int) -> None:
        """Keep an empty folder for the next item.

        One that is still locked belongs to an orphan of an attempt: it is removed, because
        the next item would wait for that orphan. The lock is dropped as *fd* is closed.
        """
        try:
            durable.lock(fd)
        except LockedError:
            self._remove_empty(id_)
        else:
            self._keep_spare(id_)

    def _keep_spare(self, id_: str) -> None:
        """Keep an empty folder that nobody has locked for the next item."""
        if len(self._spares) < SPARES_KEPT:
            self._spares[id_] = None
        else:
            self._remove_empty(id_)

    def _remove_empty(self, id_: str) -> None:
        with suppress(OSError):
            os.rmdir(id_, dir_fd=self._active)

    def remove_work(self, id_: str) -> None:
        """Remove an item's scratch folder, following nothing; what resists is left."""
        folder = id_ + WORK_SUFFIX
        try:
            os.rmdir(folder, dir_fd=self._active)
        except FileNotFoundError:
            return
        except NotADirectoryError:
            os.unlink(folder, dir_fd=self._active)
        except OSError:
            litter.remove(self._active, folder)


def _last(name: str) -> str:
    return name[name.rfind("/") + 1 :]


def _said(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
