"""Run one command of a handler: no shell, no thread, in a session of its own.

A command is over when its own process has ended, whoever still holds its standard output:
what it started and left behind is ended by the worker with the attempt. Standard output is
the result and is kept up to a limit, standard error goes to the worker's own; both are read or
passed on for as long as the command lives, so none ever blocks it for good.
"""

import errno
import os
import select
import signal
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from resumed.policy import Interrupted

READ_BYTES = 64 << 10
GRACE_SECONDS = 2.0
_NOT_THERE = frozenset(
    {errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENOEXEC, errno.ENOTDIR, errno.ELOOP}
)
# It is being replaced, or the machine has no room for a process: as little the item's doing.
_NOT_NOW = frozenset({errno.ETXTBSY, errno.EAGAIN, errno.ENOMEM})
# Python ignores the first two, the daemon the third, a function of the handler perhaps the
# last; a program expects none of it.
_DEFAULT_SIGNALS = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGIO, signal.SIGCHLD)


@dataclass(frozen=True, slots=True)
class Ended:
    """Tell how a command ended: its exit status, or a signal's number as a negative one.

    *output* is the beginning of what it printed, *cut* tells that there was more.
    """

    status: int
    output: bytes
    cut: bool


class MissingError(Exception):
    """Say that a program cannot be had, or not now: a fault of the place."""


def run(
    argv: list[str],
    environ: Mapping[str, str],
    *,
    feed: bytes | Path,
    keep_bytes: int,
    starting: AbstractContextManager[object],
) -> Ended:
    """Run *argv* to its end, with *feed*, or the file of that name, as its standard input.

    *starting* is entered while a process is made, so that whoever holds it knows that none is.

    Raises:
        MissingError: There is no such program here.
        OSError: It could not be started for another reason.
        Interrupted: A stop came; the command was asked to end and given `GRACE_SECONDS`.
    """
    reader, writer = os.pipe()
    child = ending = 0
    try:
        # A stop that comes between the start and our knowing of it would ask nobody to end.
        with starting, _undisturbed():
            child = _spawn(argv, environ, writer, feed)
            ending = os.pidfd_open(child)
        os.close(writer)
        writer = 0
        output, cut = _follow(reader, ending, keep_bytes)
    except Interrupted:
        if child:
            _ask_to_end(child)
        raise
    finally:
        for fd in filter(None, (reader, writer, ending)):
            os.close(fd)
    return Ended(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), output, cut)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Put SIGTERM off; the worker's other thread takes no signals either."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM,))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _spawn(argv: list[str], environ: Mapping[str, str], writer: int, feed: bytes | Path) -> int:
    actions = [(os.POSIX_SPAWN_DUP2, writer, 1)]
    stdin = _filled(feed) if feed else -1
    if feed:
        actions.append((os.POSIX_SPAWN_DUP2, stdin, 0))
    try:
        return os.posix_spawnp(
            argv[0],
            argv,
            environ,
            file_actions=actions,
            setsid=True,
            setsigmask=(),
            setsigdef=_DEFAULT_SIGNALS,
        )
    except OSError as error:
        if error.errno in _NOT_THERE | _NOT_NOW:
            raise MissingError(f"{argv[0]}: {error.strerror}") from error
        raise
    finally:
        if feed:
            os.close(stdin)


def _filled(feed: bytes | Path) -> int:
    """Return a file, in memory: unlike a pipe it needs nobody to write while it is read."""
    if isinstance(feed, Path):
        return os.open(feed, os.O_RDONLY | os.O_CLOEXEC)
    fd = os.memfd_create("stdin", os.MFD_CLOEXEC)
    rest = memoryview(feed)
    while rest:
        rest = rest[os.write(fd, rest) :]
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _follow(reader: int, ending: int, keep_bytes: int) -> tuple[bytes, bool]:
    """Read until the command has ended; return the beginning of its output, and if more came."""
    os.set_blocking(reader, False)
    events = select.poll()
    events.register(reader, select.POLLIN)
    events.register(ending, select.POLLIN)
    kept, cut, more = b"", False, True
    while True:
        ready = {fd for fd, _ in events.poll()}
        # What it printed before its end is in the pipe by now; what comes later is not its own.
        piece = _read(reader) if more else None
        cut = cut or len(kept) + len(piece or b"") > keep_bytes
        kept += (piece or b"")[: keep_bytes - len(kept)]
        if more and piece == b"":
            more = False
            events.unregister(reader)
        if ending in ready and (not piece or cut):
            return kept, cut


def _read(reader: int) -> bytes | None:
    try:
        return os.read(reader, READ_BYTES)
    except BlockingIOError:
        return None


def _ask_to_end(child: int) -> None:
    """Send SIGTERM to the command's session and wait a moment; the worker kills the rest."""
    ending = os.pidfd_open(child)
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGTERM)
    events = select.poll()
    events.register(ending, select.POLLIN)
    events.poll(GRACE_SECONDS * 1000)
    os.close(ending)
