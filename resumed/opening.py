"""Open a job: begin its journal or go on with it, and charge what a crash took down."""

from collections.abc import Callable

from resumed import verdict
from resumed.entry import Entry
from resumed.errors import StorageError
from resumed.gate import OUR_SHORTAGE
from resumed.jobbook import JobBook
from resumed.jobledger import REPAIRED
from resumed.jobyard import JobYard
from resumed.model import Fault, Open, Record
from resumed.openjob import OpenJob
from resumed.piecework import as_entry
from resumed.records import UnusableError, key
from resumed.tables import reader


class RefusedError(Exception):
    """Say why a job cannot go on; its file belongs in ``failed/``."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.text)
        self.fault = fault


def open_job(  # noqa: PLR0913 - what a job depends on
    entry: Entry,
    book: JobBook,
    yard: JobYard,
    *,
    id_field: str | None,
    version: str,
    max_crashes: int,
    tell: Callable[..., None],
) -> OpenJob:
    """Open a job, new or not, whose journal is *book*; that is durable on return.

    A job that was closed is taken up again with what failed in it, unless it only has to be
    put into ``failed/`` yet.

    Raises:
        RefusedError: It goes to ``failed/``; its journal says so.
        JournalError: A person must look at its journal.
        StorageError: The disk refused.
    """
    ledger = book.ledger
    if book.torn:
        tell("torn", file=str(book.path), bytes=book.torn.length_bytes, kept_as="*.tail-*")
    if ledger.closed is not None:
        _take_up(entry, book, ledger.closed)
    try:
        lines = reader(yard.opener(entry), entry.name, id_field)
    except UnusableError as error:
        raise _refused(book, "unusable", f"nothing of the file can be read: {error}") from error
    except OSError as error:
        if error.errno in OUR_SHORTAGE:
            raise StorageError(str(yard.path(entry)), error) from error
        fault = f"the file cannot be read: {error.strerror}"
        raise _refused(book, "unreadable", fault) from error
    if not ledger.opened:
        book.record("job_opened", id=entry.id, name=entry.name, metadata=lines.metadata)
    if ledger.version != version:
        book.record("versioned", version=version)
    _charge(entry, book, max_crashes)
    book.commit(urgent=True)
    return OpenJob(
        entry,
        book,
        lines,
        folder=yard.scratch(entry.id),
        path=yard.path(entry),
        lock=yard.lock(entry.id),
    )


def _refused(book: JobBook, kind: str, text: str) -> RefusedError:
    """Close a job of which nothing was begun."""
    book.record("closed", error={"kind": kind, "text": text})
    book.close()
    return RefusedError(Fault(kind, text))


def _take_up(entry: Entry, book: JobBook, closed: Record) -> None:
    """Take a closed job up again, unless it only has to be put into ``failed/`` yet."""
    if closed["kind"] == REPAIRED:  # of which nobody was told yet
        book.record("closed", error={**closed, "kind": "damaged"})
        book.close()
        raise RefusedError(Fault("damaged", closed["text"]))
    if isinstance(entry.state, Open):
        book.close()
        raise RefusedError(Fault(closed["kind"], closed["text"]))
    book.record("retried", key=None, fresh=False)


def _charge(entry: Entry, book: JobBook, max_crashes: int) -> None:
    """Charge the attempts that the last program took down with it."""
    ledger, reduce = book.ledger, book.ledger.reduce
    for number, part in list(ledger.running.items()):
        known = key(ledger.roll.marks[number], ledger.roll.contents[number])
        book.record("crashed", part=part, key=known, attempt=ledger.roll.attempts[number])
    if reduce.state != "claimed":
        return
    book.record("reduce_crashed", attempt=reduce.attempts)
    charged = as_entry(entry, reduce.attempts, reduce.tries)
    fact = verdict.crashed_for_good(charged, max_crashes, book.now())
    if fact is not None:
        told = fact.particulars
        book.record("reduce_failed", attempt=reduce.attempts, error=told["error"], output="")
