"""Run a handler in a process of its own: one attempt after the other, until told to end.

Started by `resumed.process` as ``python -m resumed.worker``, fresh and in a session of its
own. `resumed.wire` fixes what it hears and says. What a handler can do to its process costs
its own attempt: after each one the worker ends every process that the attempt started, restores
the descriptors 0, 1 and 2 and the working folder, and only then lets go of the lock. Whatever
the module started when it was imported stays.

If the daemon dies, so does the worker, with everything that it started. Should the handler keep
the interpreter from noticing, the lock on the item is held until it does, and the next daemon
finds the process by its mark.
"""

import errno
import faulthandler
import fcntl
import os
import signal
import sys
import termios
import threading
from contextlib import suppress
from pathlib import Path
from types import FrameType

from resumed import durable, mark, orphans, streams, wire
from resumed.attempt import AttemptLocks, holds_only
from resumed.channel import Channel, LostError
from resumed.command import MissingError
from resumed.errors import LockedError, PermanentError
from resumed.item import Item
from resumed.model import JSON, Record
from resumed.policy import STOP_REQUESTED, Interrupted, qualified_names
from resumed.program import ExitError, LoadError, Program
from resumed.reduction import Job
from resumed.scratch import Scratch, Spare
from resumed.wire import Assignment

_OOM_SCORE = "200"
_STANDARD = (0, 1, 2)


class Worker:
    """One process's work; the `Teller` of its items."""

    def __init__(self, channel: Channel, marker: mark.Marker) -> None:
        self._channel = channel
        self._marker = marker
        self._null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        self._output = os.dup(1)
        self._spare = Spare()
        self._item = ""
        self._locks = AttemptLocks()
        self._sheltered = True
        self._asked_to_end = False

    def load(self) -> bool:
        """Import the handler and tell the daemon; False when there is nothing to run."""
        frame = self._channel.load()
        self._out = Path(frame["out"])
        sys.path.insert(0, frame["folder"])
        try:
            self._folder = durable.open_folder(frame["folder"])
            os.fchdir(self._folder)
            self._program = Program(frame["steps"])
            self._reduce = Program([frame["reduce"]] if frame.get("reduce") else [])
        except (LoadError, OSError) as error:
            self._channel.say({"say": "load_failed", "text": str(error)})
            return False
        self._kept = orphans.children()
        self._restore()
        self._channel.say({"say": "loaded"})
        return True

    def serve(self) -> None:
        """Run one attempt after the other until there are no more, or SIGTERM came."""
        while not self._asked_to_end:
            assignment = self._channel.take()
            if assignment is not None:
                self._attempt(assignment)
            elif self._channel.ended:
                break
            else:
                self._channel.flush()
                self._expose()
                self._channel.rest()
                self._sheltered = True
        self._channel.flush()

    def interrupt(self, _number: int, _frame: FrameType | None) -> None:
        """End the attempt in hand, or the wait for one, because SIGTERM came."""
        self._asked_to_end = True
        if not self._sheltered:
            raise Interrupted

    def die(self) -> None:
        """End at once with everything that was started, because the daemon is dead."""
        for program in (getattr(self, "_program", None), getattr(self, "_reduce", None)):
            if program is not None:
                program.starting.acquire()
        orphans.kill_all()
        os._exit(wire.EXIT_ORPHANED)

    def reached(self, step: str) -> None:
        """Mark which step the attempt is in."""
        self._marker.step(step)

    def record(self, step: str, result: JSON) -> None:
        """Return when the daemon has recorded the step."""
        frame: Record = {"say": "step", "id": self._item, "step": step, "result": result}
        self._sheltered = True
        try:
            self._channel.later(frame)
            self._channel.answer({"do": "stepped", "id": self._item, "step": step})
        finally:
            self._expose()

    def progress(self, done: float, total: float | None) -> None:
        """Tell the daemon how far the attempt is."""
        frame: Record = {"say": "progress", "id": self._item, "done": done, "total": total}
        self._sheltered = True
        try:
            self._channel.say(frame)
        finally:
            self._expose()

    def _expose(self) -> None:
        """Let SIGTERM interrupt from here on, also one that came meanwhile."""
        self._sheltered = False
        if self._asked_to_end:
            raise Interrupted

    def _attempt(self, assignment: Assignment) -> None:
        lock = self._lock(assignment)
        if lock is None:
            return
        self._item = assignment.id
        self._marker.begin(assignment.id, assignment.attempt)
        began = {"say": "began", "id": assignment.id, "attempt": assignment.attempt}
        self._channel.say(began)
        scratch = Scratch(assignment.scratch, self._spare)
        item = self._item_of(assignment, scratch)
        ended = self._run(item)
        item.close()
        if os.getpid() != self._channel.pid:
            os._exit(0)  # a fork that came back from the handler is nobody's worker
        self._restore()
        childless = orphans.childless()
        if not childless:
            orphans.kill_all(self._kept)
        # A scratch folder that an earlier attempt left is there even if this one used none.
        if (scratch.used or assignment.attempt > 1) and scratch.leave():
            ended["scratch"] = True
        elif childless and holds_only(lock, assignment):
            ended["alone"] = True
        if lock >= 0:
            os.close(lock)
        self._tell_end(ended)

    def _item_of(self, assignment: Assignment, scratch: Scratch) -> Item:
        if assignment.reduce is None:
            return Item(assignment, scratch, self._out, self)
        return Job(assignment, scratch, self._out, self, assignment.reduce)

    def _lock(self, assignment: Assignment) -> int | None:
        """Take the attempt's lock; tell the daemon and return None when that cannot be.

        Raises:
            OSError: No descriptor is left here: what a handler left behind has them all.
        """
        frame: Record = {"say": "ended", "id": assignment.id}
        inherited = self._program.has_commands or self._reduce.has_commands
        try:
            return self._locks.take(assignment, inherited=inherited)
        except LockedError:
            self._channel.later({**frame, "how": "busy"})
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                raise
            self._channel.later({**frame, "how": "absent", "text": str(error)})
        return None

    def _run(self, item: Item) -> Record:
        try:
            self._expose()
            result = (self._reduce if isinstance(item, Job) else self._program)(item)
            item.finish()
            self._sheltered = True
            return {"how": "returned", "result": _plain(result)}
        except Interrupted:
            return {"how": "interrupted"}
        except MissingError as error:
            return {"how": "missing", "text": str(error)}
        except ExitError as error:
            return {"how": "exited", "status": error.status, "step": item.step_of(error)}
        except BaseException as error:  # noqa: BLE001 - SystemExit is a failure of the item, too
            self._sheltered = True
            self._restore()
            _show(error)
            return {"how": "raised", **_described(error), "step": item.step_of(error)}
        finally:
            self._sheltered = True

    def _tell_end(self, ended: Record) -> None:
        frame = {"say": "ended", "id": self._item, **ended}
        unread = fcntl.ioctl(self._output, termios.FIONREAD, b"\0\0\0\0") != b"\0\0\0\0"
        if unread:
            frame["wait"] = True
        self._channel.later(frame)
        if unread:
            self._channel.answer({"do": "go"})

    def _restore(self) -> None:
        """Undo what an attempt may have done to what the next one needs."""
        signal.alarm(0)
        streams.flush()
        for fd, kept in zip(_STANDARD, (self._null, self._output, self._output), strict=True):
            os.dup2(kept, fd)
        streams.put_back()
        os.fchdir(self._folder)


def _plain(result: object) -> JSON:
    try:
        return wire.plain(result)
    except ValueError as error:
        raise PermanentError(f"the handler's result {error}") from None


def _described(error: BaseException) -> Record:
    text, number = "(an exception that cannot be shown)", None
    with suppress(BaseException):  # the class is the handler's own, whatever it does
        text = str(error)[: wire.TEXT_LIMIT]
    with suppress(BaseException):
        number = getattr(error, "errno", None)
    known = isinstance(number, int) and number in errno.errorcode
    return {
        "kinds": qualified_names(type(error)),
        "text": text,
        "errno": number if known else None,
    }


def _show(error: BaseException) -> None:
    """Write the traceback to standard error, from the handler's own code on."""
    trace = error.__traceback__
    ours = str(Path(__file__).parent)
    while trace and trace.tb_next and trace.tb_frame.f_code.co_filename.startswith(ours):
        trace = trace.tb_next
    with suppress(Exception):
        sys.__excepthook__(type(error), error.with_traceback(trace), trace)


def _settle_in(descriptors: list[int]) -> None:
    """Make this process fit for a stranger's code."""
    for fd in descriptors:
        os.set_inheritable(fd, False)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    orphans.adopt()
    with suppress(OSError):
        # If memory runs out, the kernel should take a worker rather than the daemon.
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]


def main() -> None:
    """Work for the daemon at the other end of the pipes that the arguments name."""
    work, control, report, marks = descriptors = [int(each) for each in sys.argv[1:5]]
    _settle_in(descriptors)
    channel = Channel(work, control, report)
    worker = Worker(channel, mark.Marker(marks))
    faulthandler.enable(os.dup(2), all_threads=False)
    signal.signal(signal.SIGTERM, worker.interrupt)
    stop_requested = threading.Event()
    STOP_REQUESTED.set(stop_requested)
    channel.listen(stop_requested.set, worker.die)
    try:
        if worker.load():
            worker.serve()
    except Interrupted:
        pass
    except (LostError, OSError):
        # The handler closed what is not its own, or uses up what is everybody's.
        os._exit(wire.EXIT_DEAF)


if __name__ == "__main__":
    main()
