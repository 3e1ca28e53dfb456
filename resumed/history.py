"""Keep what the journal drops: dated files of the very lines, for people who ask later.

``history/2026-11-22.jsonl`` holds the lines, byte for byte, whose *at* is of that day (UTC).
A start that died between here and the journal's rewriting repeats some of them: two lines
with the same generation and number are one. Lines of a rewritten journal's beginning retell
what is here already, and are left out; so the history and the journal together tell each
fact once. Files may be deleted by age: nothing but `resumed-ctl` reads them.
"""

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from resumed import durable
from resumed.errors import StorageError
from resumed.journal import lines, unseal
from resumed.model import Record

_HEAD = re.compile(rb'\{"n":(\d+),"s":(\d+),"g":"\w+","at":"(\d{4}-\d\d-\d\d)[^"]*","kind":"(\w+)"')


def archive(journal: Path, folder: Path) -> None:
    """Append the journal's new facts to the files of their days; durable on return.

    Raises:
        StorageError: The disk refused.
    """
    with journal.open("rb") as file:
        days: dict[str, list[bytes]] = {}
        for line in lines(file):
            head = _HEAD.match(line)
            if head and _is_news(head):
                days.setdefault(head[3].decode(), []).append(line)
    if not days:
        return
    descriptor = _opened(folder)
    try:
        for day, news in days.items():
            _append(descriptor, f"{day}.jsonl", b"".join(news))
        durable.sync_folder(descriptor)
    finally:
        os.close(descriptor)


def read(folder: Path, *, since: str = "") -> Iterator[Record]:
    """Yield the facts of all days from *since* (``2026-11-22``) on, oldest first, once each."""
    seen: set[tuple[object, object]] = set()
    with suppress(FileNotFoundError):
        for path in sorted(folder.glob("????-??-??.jsonl")):
            if path.stem >= since[:10]:
                with path.open("rb") as file:
                    yield from once(filter(None, map(unseal, lines(file))), seen)


def once(records: Iterable[Record], seen: set[tuple[object, object]]) -> Iterator[Record]:
    """Yield each of *records* whose generation and number is not in *seen*, and add it."""
    for record in records:
        mark = (record["g"], record["n"])
        if mark not in seen:
            seen.add(mark)
            yield record


def is_news(record: Record) -> bool:
    """Tell whether *record* states a fact, rather than retelling one after a rewriting."""
    number, synced = record["n"], record["s"]
    return bool(number > synced and record["kind"] != "synced")


def _is_news(head: re.Match[bytes]) -> bool:
    # A line cannot have been synced before it was written, unless its whole file was.
    return int(head[1]) > int(head[2]) and head[4] != b"synced"


def _opened(folder: Path) -> int:
    """Open the folder; who deletes its files by age may have deleted it, too."""
    with suppress(FileNotFoundError):
        return durable.open_folder(folder)
    try:
        folder.mkdir(0o750)
    except OSError as error:
        raise StorageError(str(folder), error) from error
    state = durable.open_folder(folder.parent)
    try:
        durable.sync_folder(state)
    finally:
        os.close(state)
    return durable.open_folder(folder)


def _append(folder: int, name: str, content: bytes) -> None:
    file = durable.open_file(folder, name, os.O_RDWR | os.O_CREAT | os.O_APPEND)
    try:
        length = os.fstat(file).st_size
        if length and os.pread(file, 1, length - 1) != b"\n":
            content = b"\n" + content  # a crash left half a line there, which must not eat ours
        durable.write_all(file, content)
        durable.sync(file)
    finally:
        os.close(file)
