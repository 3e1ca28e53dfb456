"""Rewrite the journal as the fewest records with the same ledger, and lose nothing by it.

Each moment of this may be the last one. The order is what makes that harmless: what
happened goes to the history; the new file is written under another name, synced, read back
and compared; the old one keeps a second name; only then the new one takes its place.
"""

import os
import zlib
from contextlib import suppress
from pathlib import Path

from resumed import durable, history, journal
from resumed.errors import JournalCorruptError, JournalVersionError
from resumed.journal import Journal
from resumed.ledger import Ledger, UnknownKindError
from resumed.model import Fact, Reading, Record, Torn

FRESH, PREVIOUS = "journal.new", "journal.prev"
INITIALISED = "initialised"
WORTH_BYTES = 4 << 20
AT_REST_BYTES = 1 << 20


def create(path: Path, generation: str, at: float) -> None:
    """Make a first, empty journal at *path*; durable, and never over an existing file.

    Raises:
        FileExistsError: Something has that name already.
    """
    content = journal.whole(generation, None, Fact(journal.HEADER, at, {"counts": {}}), ())
    folder = durable.open_folder(path.parent)
    try:
        durable.place(folder, path.name, content)
    finally:
        os.close(folder)


def replay(path: Path) -> tuple[Ledger, Reading]:
    """Add up the journal at *path*; reads only.

    Raises:
        JournalCorruptError: There is damage that no crash explains.
        JournalVersionError: A newer program wrote it.
    """
    ledger = Ledger()
    line = 0

    def apply(record: Record) -> None:
        nonlocal line
        line += 1
        ledger.apply(record)

    try:
        reading = journal.read(path, apply)
    except UnknownKindError as error:
        raise JournalVersionError(path, line, f"a record of an unknown kind, {error}") from error
    except (KeyError, TypeError, ValueError) as error:
        fault = f"a sound line that cannot follow those before it ({error!r})"
        raise JournalCorruptError(path, line, fault) from error
    return ledger, reading


def save_torn(path: Path, torn: Torn) -> str:
    """Keep the bytes of a torn end beside the journal; return the name, durable."""
    with path.open("rb") as file:
        file.seek(torn.offset_bytes)
        content = file.read(torn.length_bytes)
    name = f"{path.stem}.tail-{torn.line}-{zlib.crc32(content):08x}"
    folder = durable.open_folder(path.parent)
    try:
        # Taken: the same bytes, kept by a start that died before it cut them.
        with suppress(FileExistsError):
            durable.place(folder, name, content)
    finally:
        os.close(folder)
    return name


def worth_it(writer: Journal, live_bytes: int, *, at_rest: bool = False) -> bool:
    """Tell whether the dead part is large, and larger than the live one.

    *at_rest*, when nobody waits for it, less is enough: the next start reads all of it.
    """
    dead = writer.length_bytes - live_bytes
    return dead > (AT_REST_BYTES if at_rest else WORTH_BYTES) and dead > live_bytes


def rewrite(writer: Journal, ledger: Ledger, generation: str, at: float, archive: Path) -> Journal:
    """Replace the journal by what *ledger* tells, and return the writer of the new file.

    What happened since the last rewriting goes to the folder *archive* first.

    Raises:
        StorageError: The disk refused; the old journal is in place, whole.
        ValueError: The new file means something else, which is a fault of ours.
    """
    path = writer.path
    writer.sync()
    history.archive(path, archive)
    counts: Record = {"counts": dict(ledger.counts)}
    header = Fact(journal.HEADER, at, counts)
    content = journal.whole(generation, writer.generation, header, ledger.facts())
    folder = durable.open_folder(path.parent)
    try:
        durable.write_whole(folder, FRESH, content)
        fresh, reading = replay(path.with_name(FRESH))
        if fresh != ledger or reading.torn:
            raise ValueError(f"{path.with_name(FRESH)}: does not mean the same as {path}")
        durable.supersede(folder, FRESH, path.name, PREVIOUS)
    finally:
        os.close(folder)
    writer.close()
    return Journal(path, reading)
