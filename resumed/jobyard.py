"""Know where everything of a job lies, and move it there.

active/ID/NAME             its file
active/ID.work/MARK        scratch folders of its parts, gone with the outcome of each
active/ID.work/results.jsonl   what its reduce reads
active/ID.work/lock-GEN    what attempts of the daemon GEN hold shared locks on
jobs/ID.jsonl              its journal, in jobs/archive/ when it is over
done/NAME.results.jsonl    its results, when they are asked for; STEM~ID.EXT.results.jsonl,
                           as its file may be called there, when that is taken
"""

import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from resumed import durable, jobbook, litter
from resumed.entry import Entry
from resumed.errors import JournalCorruptError, LockedError, StorageError
from resumed.gathering import RESULTS
from resumed.jobbook import JobBook
from resumed.settings import Paths
from resumed.spool import Spool

_LOCK = "lock-"
_ENDING = f".{RESULTS}"
_JOURNAL = re.compile(r"([0-9a-f]{11}-[0-9a-f]{10})\.jsonl")


class JobYard:
    """The places of all jobs of one instance."""

    def __init__(self, paths: Paths, spool: Spool, generation: str) -> None:
        """Mark what this daemon makes by *generation*, eight hex digits."""
        self._paths = paths
        self._spool = spool
        self._generation = generation

    def book(self, job_id: str, now: Callable[[], float]) -> JobBook:
        """Open or begin a job's journal."""
        return JobBook(self._paths.jobs, job_id, now, self._generation)

    def book_of(self, entry: Entry, now: Callable[[], float]) -> JobBook:
        """Open the journal of a job, or begin it if the job was never opened.

        Raises:
            JournalError: A person must look at it; also when it ought to be there, and is not.
        """
        path = self._paths.jobs / f"{entry.id}.jsonl"
        if entry.job and not os.path.lexists(path):
            raise JournalCorruptError(path, 0, "is missing, but was here before")
        return self.book(entry.id, now)

    def path(self, entry: Entry) -> Path:
        """Name the file of a job that is open."""
        return self._paths.active / entry.id / entry.name.rpartition("/")[2]

    def opener(self, entry: Entry) -> Callable[[], BinaryIO]:
        """Return what opens that file for reading."""
        path = self.path(entry)

        def opened() -> BinaryIO:
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            return open(fd, "rb", buffering=1 << 16)  # noqa: PTH123 - a descriptor

        return opened

    def scratch(self, job_id: str) -> Path:
        """Make and name a job's scratch folder; raises `StorageError`."""
        return _made(self._paths.active / f"{job_id}.work")

    def lock(self, job_id: str) -> str:
        """Make and name the folder that attempts of this daemon lock; raises `StorageError`."""
        return str(_made(self.scratch(job_id) / (_LOCK + self._generation)))

    def in_use(self, job_id: str) -> bool:
        """Tell whether an attempt that an earlier daemon began may still run.

        Where none does, none can begin any more: the folder that it would lock is gone.
        """
        scratch = self._paths.active / f"{job_id}.work"
        for folder in scratch.glob(_LOCK + "*"):
            if folder.name == _LOCK + self._generation:
                continue
            with suppress(FileNotFoundError):
                fd = durable.open_folder(folder)
                try:
                    durable.lock(fd)
                    folder.rmdir()
                except LockedError:
                    return True
                finally:
                    os.close(fd)
        return False

    def drop_scratch(self, job_id: str, name: str) -> None:
        """Remove the scratch folder of a part that has its outcome."""
        litter.remove(self._spool.fd("active"), f"{job_id}.work/{name}")

    def shelve(self, entry: Entry) -> None:
        """Move a job's results into ``done/``, durably; nothing when that was done before.

        Raises:
            StorageError: The disk refused.
        """
        try:
            scratch = durable.open_folder(self._paths.active / f"{entry.id}.work")
        except FileNotFoundError:
            return
        try:
            self._spool.shelve(scratch, RESULTS, self._results_name(entry), entry.id)
        except FileNotFoundError:
            return
        finally:
            os.close(scratch)

    def _results_name(self, entry: Entry) -> str:
        name = _name_of_results(entry.name)
        with suppress(StorageError):  # nobody can look there
            if self._spool.find_kept("done", name) is None:
                return name
        folder, slash, last = entry.name.rpartition("/")
        return folder + slash + durable.spare_name(last, entry.id, _ENDING)

    def journals(self) -> list[str]:
        """List the jobs that have a journal which is not archived."""
        try:
            names = [path.name for path in self._paths.jobs.iterdir()]
        except OSError as error:
            raise StorageError(str(self._paths.jobs), error) from error
        return [found[1] for found in map(_JOURNAL.fullmatch, names) if found]

    def archive(self, job_id: str) -> None:
        """Put away the journal of a job that is over."""
        if (self._paths.jobs / f"{job_id}.jsonl").exists():
            jobbook.archive(self._paths.jobs, job_id)


def _name_of_results(name: str) -> str:
    """Name the results of a job's file; a long name is cut so that the ending stays whole."""
    folder, slash, last = name.rpartition("/")
    return f"{folder}{slash}{durable.trim(last, durable.NAME_LIMIT_BYTES - len(_ENDING))}{_ENDING}"


def _made(folder: Path) -> Path:
    # Not being able to is a fault of the machine: no job may fail for it.
    try:
        folder.mkdir(0o700, exist_ok=True)
    except OSError as error:
        raise StorageError(str(folder), error) from error
    return folder
