"""Let the files that a handler makes appear whole in ``out/``, or not at all.

A handler writes into ``SCRATCH/out/NAME``. Publishing syncs the file, gives it a second name
``SCRATCH/published/NAME``, and moves it to ``out/NAME``, or to ``out/STEM~ID.EXT`` when that
name is taken. Only then the step, or the outcome, is recorded.

A crash between the move and the record makes the step run again. Its file is then still known
by its second name: a file in ``out/`` that is the same inode is our own earlier one, which
nobody was told of, and it is taken away before the new one comes. Anything else in ``out/``
stays as it is.
"""

import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from resumed import durable
from resumed.errors import PermanentError
from resumed.scratch import Scratch

_SYNC_ONE_BY_ONE = 32


class Outputs:
    """The unpublished and published files of one item."""

    def __init__(self, scratch: Scratch, out: Path, id_: str) -> None:
        """Work in *scratch*, which is made when needed, and publish into *out*."""
        self._scratch, self._out, self._id = scratch, out, id_
        self._lasting = False

    def path(self, name: str) -> Path:
        """Return where to write the output *name*; what an earlier attempt left is removed.

        Raises:
            PermanentError: *name* is no plain file name.
        """
        if name in ("", ".", "..") or "/" in name or "\0" in name:
            raise PermanentError(f"output {name!r}: not a plain file name")
        path = self.folder() / name
        path.unlink(missing_ok=True)
        return path

    def folder(self) -> Path:
        """Make the folder of the unpublished files and return it."""
        return self._scratch.folder("out")

    def written(self) -> list[str]:
        """List the unpublished files that are there."""
        with suppress(FileNotFoundError), os.scandir(self._scratch.path / "out") as entries:
            return sorted(each.name for each in entries if each.is_file(follow_symlinks=False))
        return []

    def publish(self, names: Iterable[str]) -> None:
        """Move those of *names* that were written to ``out/``; durable on return.

        Raises:
            StorageError: The disk refused.
        """
        written = set(self.written()).intersection(names)
        if not written:
            return
        places = (self.folder(), self._kept(), self._out)
        folders = [durable.open_folder(each) for each in places]
        try:
            for name in sorted(written):
                self._publish(name, *folders)
            durable.sync_folder(folders[-1])
        finally:
            for folder in folders:
                os.close(folder)

    def _kept(self) -> Path:
        """Return the folder of the second names; a power cut does not take it away again."""
        kept = self._scratch.path / "published"
        if not self._lasting:
            kept.mkdir(0o700, exist_ok=True)
            for folder in (kept.parent, kept.parent.parent):
                fd = durable.open_folder(folder)
                try:
                    durable.sync_folder(fd)
                finally:
                    os.close(fd)
            self._lasting = True
        return kept

    def _publish(self, name: str, source: int, kept: int, out: int) -> None:
        _sync_file(source, name)
        self._take_back(name, kept, out)
        os.link(name, name, src_dir_fd=source, dst_dir_fd=kept, follow_symlinks=False)
        # Without its second name, a file in out/ could not be known as ours.
        durable.sync_folder(kept)
        durable.move_free(source, name, out, name, self._id)

    def _take_back(self, name: str, kept: int, out: int) -> None:
        """Remove what an earlier, unrecorded run of this step has published under *name*."""
        try:
            ours = os.stat(name, dir_fd=kept, follow_symlinks=False)
        except FileNotFoundError:
            return
        for published in (name, durable.spare_name(name, self._id)):
            with suppress(FileNotFoundError, FileExistsError):
                if not os.path.samestat(ours, _stat(out, published)):
                    continue
                # Moved first and looked at again: another's file that came meanwhile goes back.
                old = durable.trim(name, durable.NAME_LIMIT_BYTES - len(".old")) + ".old"
                aside = durable.move_free(out, published, kept, old, self._id)
                if os.path.samestat(ours, _stat(kept, aside)):
                    os.unlink(aside, dir_fd=kept)
                else:
                    durable.move(kept, aside, out, published)
        os.unlink(name, dir_fd=kept)


def sync_tree(folder: Path) -> None:
    """Make everything below *folder* durable; nothing happens when it does not exist.

    Raises:
        StorageError: The disk refused.
    """
    try:
        fd = durable.open_folder(folder)
    except FileNotFoundError:
        return
    try:
        entries = list(_below(folder))
        if len(entries) > _SYNC_ONE_BY_ONE:
            durable.sync_filesystem(fd)
            return
        for path in entries:
            _sync_path(path)
        durable.sync_folder(fd)
    finally:
        os.close(fd)


def _below(folder: Path) -> Iterable[Path]:
    """List files and folders, what is in a folder before the folder."""
    for parent, _, files in os.walk(folder, topdown=False):
        yield from (Path(parent, name) for name in files)
        if parent != str(folder):
            yield Path(parent)


def _sync_path(path: Path) -> None:
    # A handler's own thread may remove or replace things while we look.
    with suppress(FileNotFoundError):
        if stat.S_IFMT(path.lstat().st_mode) not in (stat.S_IFREG, stat.S_IFDIR):
            return
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            durable.sync_folder(fd)
        finally:
            os.close(fd)


def _sync_file(folder: int, name: str) -> None:
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        durable.sync(fd)
    finally:
        os.close(fd)


def _stat(folder: int, name: str) -> os.stat_result:
    return os.stat(name, dir_fd=folder, follow_symlinks=False)
