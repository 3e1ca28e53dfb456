"""Put files into the inbox the safe way: `put`.

A file is written under a temporary name, synced, and only then given its own; its marker, if
one is configured, follows. So whatever is cut short, no half file is ever taken. With
``--json`` each prints ``{"source": "/x/a.txt", "name": "a.txt", "bytes": 3}``.
"""

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import click

from resumed import durable, view
from resumed.errors import StorageError
from resumed.rules import Rules
from resumed.site import Site, json_option, pass_site, show_json, warn
from resumed.text import escape, size
from resumed.view import RefusedError

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_MODE = 0o640


@click.command("put")
@click.argument("sources", nargs=-1, required=True, metavar="FILE...", type=click.Path())
@click.option("--as", "wanted", metavar="NAME", help="The name in the inbox; for one FILE.")
@json_option
@pass_site
def put_command(site: Site, sources: tuple[str, ...], wanted: str | None, *, as_json: bool) -> int:
    """Copy files into the inbox so that none is taken before it is whole."""
    if wanted is not None and (len(sources) > 1 or "/" in wanted):
        raise click.UsageError("--as takes a file name, and only with one FILE")
    config = site.config()
    rules = Rules(config.match, config.ignore, config.marker)
    refused = 0
    inbox = opened(site.paths.inbox)
    try:
        for source in sources:
            name = wanted or Path(source).name
            try:
                length = put(Path(source), inbox, name, rules)
            except RefusedError as error:
                warn(str(error))
                refused += 1
                continue
            if as_json:
                show_json({"source": str(Path(source).absolute()), "name": name, "bytes": length})
            else:
                click.echo(f"{escape(name)}: {size(length)}")
    finally:
        os.close(inbox)
    return 1 if refused else 0


def put(source: Path, inbox: int, name: str, rules: Rules) -> int:
    """Copy *source* to *name* in the open folder *inbox*; durable on return.

    Returns the file's length in bytes.

    Raises:
        RefusedError: It is no file, its name is taken, or would be ignored.
        StorageError: The disk refused.
    """
    rule = rules.ignored_by(name)
    if rule is not None:
        raise RefusedError(f"{escape(name)}: would be ignored because of {rule}; say --as NAME")
    try:
        with source.open("rb") as original:
            return _put(original, inbox, name, rules)
    except OSError as error:  # what the inbox refuses is no such error any more
        raise RefusedError(f"{escape(str(source))}: {error.strerror}") from error


def _put(original: BinaryIO, inbox: int, name: str, rules: Rules) -> int:
    temporary = durable.TEMPORARY_PREFIX + os.urandom(8).hex()
    try:
        length = _copy(original, inbox, temporary)
        durable.move(inbox, temporary, inbox, name)
    except FileExistsError as error:
        _discard(inbox, temporary)
        why = "a file of that name is in the inbox; wait for it, or say --as NAME"
        raise RefusedError(f"{escape(name)}: {why}") from error
    except OSError as error:
        _discard(inbox, temporary)
        place = escape(f"{durable.path_of(inbox)}/{name}")
        raise RefusedError(f"{place}: {error.strerror}; nothing was dropped") from error
    except StorageError:
        _discard(inbox, temporary)
        raise
    durable.sync_folder(inbox)
    mark(inbox, name, rules)
    return length


def mark(inbox: int, name: str, rules: Rules) -> None:
    """Place the marker of *name*, where there are markers; durable on return."""
    marker = rules.marker_of(name)
    if marker is not None:
        with suppress(FileExistsError):
            durable.place(inbox, marker, b"", _MODE)


def opened(inbox: Path) -> int:
    """Open the folder *inbox*.

    Raises:
        RefusedError: It is not there, or closed to this user.
    """
    try:
        return durable.open_folder(inbox)
    except PermissionError as error:
        raise view.closed(inbox) from error
    except OSError as error:
        raise RefusedError(f"{inbox}: {error.strerror}; 'resumed check' tells more") from error


def _copy(original: BinaryIO, inbox: int, temporary: str) -> int:
    fd = os.open(temporary, _NEW, _MODE, dir_fd=inbox)
    with open(fd, "wb") as copy:  # noqa: PTH123 - a descriptor
        shutil.copyfileobj(original, copy, 1 << 20)
        copy.flush()
        durable.sync_folder(copy.fileno())
        return copy.tell()


def _discard(inbox: int, temporary: str) -> None:
    with suppress(OSError):
        os.unlink(temporary, dir_fd=inbox)
