"""Do what people ask about jobs: try their parts again, mend their file, give them up.

A failed job's journal is told first, then the main journal, then its file is moved; what a
crash leaves of that order is finished by the next start.
"""

import os
import stat
from collections.abc import Sequence
from contextlib import suppress

from resumed import durable, roll, stranger
from resumed.entry import Entry
from resumed.errors import JournalError
from resumed.foreman import Foreman
from resumed.jobbook import JobBook
from resumed.listing import plural
from resumed.model import Failed, Fault, Open, Pending
from resumed.reconcile import Reconciler
from resumed.recorder import Recorder
from resumed.records import key, mark_of
from resumed.request import NotNowError, Request
from resumed.runner import Runner
from resumed.spool import Spool

_NEW = "with"


class JobWishes:
    """What may be asked of jobs."""

    def __init__(
        self,
        *,
        foreman: Foreman,
        recorder: Recorder,
        runner: Runner,
        reconciler: Reconciler,
        spool: Spool,
    ) -> None:
        self._foreman = foreman
        self._recorder = recorder
        self._runner = runner
        self._reconciler = reconciler
        self._spool = spool

    def retry(self, entry: Entry, wish: Request) -> str:
        """Try what failed in a job again, or only the parts that are named.

        Raises:
            NotNowError: There is nothing to try again.
        """
        parts = wish.items().get(entry.id, [])
        if parts and wish.replacement is not None:
            raise NotNowError("a new file is for the whole job, not for parts of it")
        match entry.state:
            case Failed(_, _, _, _, _, kept_as) if kept_as is not None:
                return self._reopen(entry, kept_as, parts, wish)
            case Open() if wish.replacement is None:
                return self._hurry(entry, parts, fresh=wish.fresh)
            case Open() | Pending() if wish.replacement and not self._lies(wish.replacement):
                return "goes on with the new file"  # taken in before a crash, and not answered
            case Open():
                raise NotNowError("is open: cancel it first, then give it another file")
            case _:
                raise NotNowError("has not failed, there is nothing to retry")

    def cancel(self, entry: Entry) -> str:
        """Give a job up: what runs of it ends, the rest is skipped.

        Raises:
            NotNowError: It is not open, or its reduce is on its way.
        """
        job = self._foreman.jobs.get(entry.id)
        if job is None:
            if not isinstance(entry.state, Open | Pending) or entry not in self._foreman.queue:
                raise NotNowError("is not open")
            self._close_unopened(entry)
            self._runner.fail(entry, Fault("cancelled", "asked for"))
        elif job.reducing or job.ledger.reduce.state == "done":
            raise NotNowError("its reduce is on its way")
        else:
            error = {"kind": "cancelled", "text": "asked for"}
            job.fail({"error": error, "part": None, "attempt": 0})
        return "given up; what runs of it ends, the rest is skipped"

    def _close_unopened(self, entry: Entry) -> None:
        """Give up what this daemon did not open yet; its journal says so, if it has one."""
        queue = self._foreman.queue
        if entry.job:
            try:
                book = queue.book(entry)
            except JournalError as error:
                raise NotNowError(str(error)) from error
            book.record("closed", error={"kind": "cancelled", "text": "asked for"})
        queue.forget(entry)

    def leads(self, entry: Entry) -> bool:
        """Tell whether an item is a job, or will be one when it runs."""
        return self._foreman.leads(entry)

    def _hurry(self, entry: Entry, parts: Sequence[str], *, fresh: bool) -> str:
        """Try parts of an open job now that failed or wait for another attempt."""
        if entry in self._foreman.queue:
            return self._tell_unopened(entry, parts, fresh=fresh)
        job = self._foreman.jobs.get(entry.id)
        if job is None or job.ledger.fault is not None or job.slicing or job.over:
            raise NotNowError("is not at its parts now; ask again later")
        before = job.roll.counts[roll.PENDING]
        self._tell_book(job.book, parts, fresh=fresh)
        job.book.commit(urgent=True)  # the answer must not be durable before it
        job.look_again()
        return f"{plural(job.roll.counts[roll.PENDING] - before, 'part')} tried now"

    def _tell_unopened(self, entry: Entry, parts: Sequence[str], *, fresh: bool) -> str:
        """Record for a job that this daemon did not open yet what is to be tried again."""
        book = self._foreman.queue.book(entry)
        before = book.ledger.roll.states.count(roll.PENDING)
        if book.ledger.fault is not None:
            raise NotNowError("is not at its parts now; ask again later")
        self._tell_book(book, parts, fresh=fresh)
        book.commit(urgent=True)
        again = book.ledger.roll.states.count(roll.PENDING) - before
        return f"{plural(again, 'part')} tried now"

    def _reopen(self, entry: Entry, kept_as: str, parts: Sequence[str], wish: Request) -> str:
        try:
            book = self._foreman.yard.book_of(entry, self._recorder.now)
        except JournalError as error:
            raise NotNowError(str(error)) from error
        try:
            if wish.replacement is not None:
                self._lay_by(entry, wish.replacement, wish.owner)
            if book.ledger.opened:
                self._tell_book(book, parts, fresh=wish.fresh)
        finally:
            book.close()
        if wish.replacement is None:
            self._recorder.record("retried", id=entry.id, fresh=wish.fresh)
        else:
            self._replace(entry)
        self._recorder.commit()
        if not self._reconciler.fetch(entry):
            raise NotNowError("its file was taken away; nothing is left to run")
        if wish.replacement is not None:
            self._spool.retire(kept_as, entry.id)
            self._reconciler.remove_sidecar(kept_as, entry.id)
        self._runner.take_in(entry)
        return "goes on with the new file" if wish.replacement else "taken up again"

    def _tell_book(self, book: JobBook, parts: Sequence[str], *, fresh: bool) -> None:
        """Record what is to be tried again: everything, when no parts are named.

        A part that is pending in a job that goes on was recorded before a crash, when this was
        asked first, or would be tried anyhow.
        """
        known = book.ledger.roll
        keys: list[str | None] = [] if parts else [None]
        for part in parts:
            number = known.find(mark_of(part, self._foreman.id_field))
            pending = number is not None and known.states[number] == roll.PENDING
            if pending and book.ledger.closed is None:
                continue
            if number is None or known.states[number] not in (roll.FAILED, roll.WAITING):
                bad = part.startswith("line ")
                remedy = "it has to be mended: give the job a new file" if bad else "nothing failed"
                raise NotNowError(f"part {part!r} cannot be tried again: {remedy}")
            keys.append(key(known.marks[number], known.contents[number]))
        for each in keys:
            book.record("retried", key=each, fresh=fresh)

    def _lies(self, replacement: str) -> bool:
        """Tell whether a new file is in the inbox still, where its asker laid it."""
        try:
            os.stat(replacement, dir_fd=self._spool.inbox.fd, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def _lay_by(self, entry: Entry, replacement: str, owner: int) -> None:
        """Move a new file from the inbox into the job's scratch folder, or refuse it.

        A file that is there already was laid by before a crash, when this was asked first.
        """
        inbox = self._spool.inbox.fd
        scratch = durable.open_folder(self._foreman.yard.scratch(entry.id))
        try:
            with suppress(FileNotFoundError):
                _check(inbox, replacement, owner)
                with suppress(FileNotFoundError):
                    os.unlink(_NEW, dir_fd=scratch)
                durable.move(inbox, replacement, scratch, _NEW)
            try:
                # Again, of what was moved: its owner may have laid something else there.
                _check(scratch, _NEW, owner)
            except FileNotFoundError:
                raise NotNowError("the new file is not there any more") from None
            except NotNowError:
                durable.move_free(scratch, _NEW, inbox, replacement, entry.id)
                raise
        finally:
            os.close(scratch)

    def _replace(self, entry: Entry) -> None:
        """Take the new file in as the job's own: durable, then recorded."""
        scratch = durable.open_folder(self._foreman.yard.scratch(entry.id))
        try:
            file = durable.open_file(scratch, _NEW, os.O_RDONLY)
            try:
                status = os.fstat(file)
                for fd in (file, scratch, self._spool.fd("active"), self._spool.inbox.fd):
                    durable.sync_folder(fd)
            finally:
                os.close(file)
        finally:
            os.close(scratch)
        self._recorder.record(
            "claimed",
            id=entry.id,
            name=entry.name,
            inode=status.st_ino,
            size=status.st_size,
            mtime_ns=status.st_mtime_ns,
            owner=entry.owner,
            replaced=True,
        )


def _check(folder_fd: int, name: str, owner: int) -> None:
    """Refuse a file that is not the asker's, or not a finished one."""
    try:
        file = stranger.open_file(folder_fd, name)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise NotNowError(f"the new file cannot be opened: {error.strerror}") from error
    try:
        about = os.fstat(file)
        if not stat.S_ISREG(about.st_mode):
            raise NotNowError("the new file is no regular file")
        if owner not in (0, os.geteuid(), about.st_uid):
            raise NotNowError("the new file is not yours")
        if stranger.has_writer(file):
            raise NotNowError("the new file is still being written")
    finally:
        os.close(file)
