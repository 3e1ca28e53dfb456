"""Hold the daemon's end of the pipes to one worker process.

Nothing here waits: what a worker says is read when it is there, what it is told is written as
far as its pipe takes it. A worker is known to be dead by its process descriptor, not by the
end of a pipe, since a handler may close all its pipes or hand them to a child that lives on.
"""

import os
import signal
from collections import deque
from collections.abc import Iterable
from contextlib import suppress

from resumed import launch, mark, report, wire
from resumed.launch import Launch
from resumed.model import Record
from resumed.report import Report
from resumed.wire import NonsenseError

OUTPUT_BYTES = 8 << 10
READS_AT_ONCE = 4
READS_AT_END = 64
GRACE_SECONDS = 5.0
DEAF_SECONDS = 1.0
LOAD_SECONDS = 600.0
LEAVE_SECONDS = 30.0
CLOSED_ITS_PIPES = "closed its pipes"


class Process:
    """One worker: its process, its pipes, and what it was last known to do.

    *assigned* are the ids it was sent and has not begun, in order; *running* is the id whose
    attempt it has begun, at *began_at* on the monotonic clock.
    """

    def __init__(self, launched: Launch, slot: int, now: float) -> None:
        """Start the process; it loads the handler by itself.

        Raises:
            OSError: There are no processes or descriptors left, or the disk refused.
        """
        self.launch = launched
        self.slot = slot
        self.started_at = now
        self.loaded = self.refused = self.leaving = self.interrupted = False
        self.heard_all = False
        self.begun = 0
        self.assigned: deque[str] = deque()
        self.running: str | None = None
        self.began_at = 0.0
        self._kill: tuple[float, str] | None = None
        self._why_killed: str | None = None
        self._frames = wire.Frames()
        self._unsent = bytearray()
        self._tail = bytearray()
        self._recalling = False
        self._marks = launched.marks / str(slot)
        started = launch.start(self._marks)
        self._popen = started.process
        self.pid = started.process.pid
        self.work, self._control = started.work, started.control
        self.report, self.output, self.ending = started.report, started.output, started.ending
        self.tell(launched.frame())

    @property
    def unsent(self) -> bool:
        """Whether something waits for room in the pipe."""
        return bool(self._unsent)

    def tell(self, *frames: Record) -> None:
        """Send *frames* as far as the pipe takes them now; the rest goes with `send`."""
        self._unsent += b"".join(map(wire.encode, frames))
        self.send()

    def send(self) -> None:
        """Go on sending what waits for room in the pipe."""
        try:
            while self._unsent:
                del self._unsent[: os.write(self.work, self._unsent)]
        except BlockingIOError:
            pass
        except OSError:
            # It closed its end, or is dead, of which the process descriptor tells.
            self._unsent.clear()
        if self._recalling:
            self.recall()

    def recall(self) -> None:
        """Ask back what was not begun, and while there is more to send ask again.

        A busy worker reads what it is sent only when it is asked to give it back.
        """
        self._recalling = bool(self._unsent)
        self._command(wire.RECALL)

    def ask_to_stop(self) -> None:
        """Ask what only waits in the handler not to wait any longer."""
        self._command(wire.STOP)

    def leave(self, now: float) -> None:
        """Let it finish what it was sent, and end; it is sent nothing any more."""
        self.leaving = True
        if self.idle and not self._unsent and self.work >= 0:
            os.close(self.work)
            self.work = -1  # the next descriptor that is opened has its number, perhaps
            self._end_by(now + LEAVE_SECONDS, "did not end")

    @property
    def idle(self) -> bool:
        """Whether it has nothing to do."""
        return not self.load

    @property
    def load(self) -> int:
        """How many items it has, begun or not."""
        return len(self.assigned) + (self.running is not None)

    @property
    def staying(self) -> bool:
        """Whether it is not about to end, as far as it was told and has said."""
        return not (self.leaving or self.interrupted or self.refused)

    def interrupt(self, now: float) -> None:
        """Ask it to end its attempt and itself at once, and see to it that it does."""
        self.interrupted = True
        self._end_by(now + GRACE_SECONDS, "interrupted")
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)

    def kill(self, why: str) -> None:
        """End it at once; the first *why* is what is told of it."""
        self._why_killed = self._why_killed or why
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def deadline(self) -> float | None:
        """Say when `enforce` has something to do."""
        if self._why_killed is not None:
            return None
        return min((at for at, _ in self._limits()), default=None)

    def enforce(self, now: float) -> None:
        """Kill it if it has had its time."""
        for at, why in self._limits():
            if at <= now:
                self.kill(why)

    def death(self, *, out_of_memory: bool) -> report.WorkerDied:
        """Tell of its end, once it has ended."""
        return report.WorkerDied(
            worker=self.pid,
            id=self.running,
            step=self._step(),
            queued=tuple(self.assigned),
            how=self._how(out_of_memory=out_of_memory),
            output=self.take_output(),
            loading=not self.loaded,
            interrupted=self.interrupted,
        )

    def _how(self, *, out_of_memory: bool) -> str:
        if self._why_killed is not None:
            return self._why_killed
        status = self._popen.returncode
        if status == wire.EXIT_DEAF:
            return CLOSED_ITS_PIPES
        if status >= 0:
            return f"exit {status}"
        if -status == signal.SIGKILL and out_of_memory:
            return "out of memory"
        names = {number.value: number.name.removeprefix("SIG") for number in signal.Signals}
        return f"signal {-status} ({names.get(-status, 'real-time')})"

    def _end_by(self, at: float, why: str) -> None:
        if self._kill is None or at < self._kill[0]:
            self._kill = (at, why)

    def _limits(self) -> Iterable[tuple[float, str]]:
        """Yield the moments at which its time is over, with what to say then."""
        if self._kill is not None:
            yield self._kill
        if not self.loaded:
            yield self.started_at + LOAD_SECONDS, "timeout"
        if self.running is not None and self.launch.timeout_seconds is not None:
            yield self.began_at + self.launch.timeout_seconds, "timeout"

    def hear(self, now: float) -> Iterable[Report]:
        """Yield what it says that can be read now; ends it if that is nonsense.

        `heard_all` tells when the pipe has ended, which may just mean that it is dying.
        """
        try:
            for piece in self._pieces(now):
                for frame in self._frames.feed(piece):
                    yield self._understand(frame, now)
        except (NonsenseError, LookupError, TypeError, ValueError):
            # Only a handler can have written there, and nothing after it can be trusted.
            self.heard_all = True
            self.kill("wrote into the pipe to the daemon")

    def _pieces(self, now: float) -> Iterable[bytes]:
        with suppress(BlockingIOError):
            for _ in range(READS_AT_ONCE):
                piece = os.read(self.report, wire.READ_BYTES)
                yield piece
                if not piece:
                    self.heard_all = True
                    self._end_by(now + DEAF_SECONDS, CLOSED_ITS_PIPES)
                if len(piece) < wire.READ_BYTES:
                    return

    def read_output(self, reads: int = READS_AT_ONCE) -> bool:
        """Take what was printed, of which the end is kept; False when no more can come.

        *reads* bounds one turn's work, so that a chatterer cannot hold up the others.
        """
        with suppress(BlockingIOError):
            while reads:
                piece = os.read(self.output, wire.READ_BYTES)
                if not piece:
                    return False
                reads -= 1
                self._tail += piece
                del self._tail[:-OUTPUT_BYTES]
        return True

    def take_output(self) -> bytes:
        """Return the end of what was printed, and forget it."""
        taken = bytes(self._tail)
        self._tail.clear()
        return taken

    def _step(self) -> str | None:
        marks = mark.read(self._marks)
        return marks[-1].step if marks and marks[-1].id == self.running else None

    def ended(self) -> int | None:
        """Return the exit status if the process has ended, negative for a signal."""
        return self._popen.poll()

    def wait(self) -> None:
        """Wait for its end."""
        self._popen.wait()

    def close(self) -> None:
        """Close our ends of a dead process's pipes."""
        if self.work >= 0:
            os.close(self.work)
        for fd in (self._control, self.report, self.output, self.ending):
            os.close(fd)

    def _understand(self, frame: Record, now: float) -> Report:  # noqa: PLR0911 - one each
        match frame["say"]:
            case "began":
                self._take(frame["id"])
                self.running, self.began_at = frame["id"], now
                self.begun += 1
                return report.Began(self.pid, frame["id"], frame["attempt"])
            case "ended":
                return self._end(frame, now)
            case "step":
                return report.StepTaken(self.pid, frame["id"], frame["step"], frame["result"])
            case "progress":
                return report.Progressed(self.pid, frame["id"], frame["done"], frame["total"])
            case "gave_back":
                for id_ in frame["ids"]:
                    self.assigned.remove(id_)
                return report.GaveBack(self.pid, tuple(frame["ids"]))
            case "loaded":
                self.loaded = True
                return report.Loaded(self.pid)
            case "load_failed":
                self.refused = True
                return report.LoadFailed(self.pid, frame["text"])
            case unknown:
                raise NonsenseError(unknown)

    def _end(self, frame: Record, now: float) -> Report:
        ended = report.end(frame, now - self.began_at)
        if isinstance(ended, report.Busy | report.Absent):
            self._take(frame["id"])
            return report.Finished(self.pid, frame["id"], ended, b"", scratch=False)
        if frame["id"] != self.running:
            raise NonsenseError("an end without a beginning")
        self.running = None
        if frame.get("wait"):
            self.read_output(READS_AT_END)
            self.tell({"do": "go"})
        scratch, alone = bool(frame.get("scratch")), bool(frame.get("alone"))
        return report.Finished(self.pid, frame["id"], ended, self.take_output(), scratch, alone)

    def _take(self, id_: str) -> None:
        if self.running is not None or self.assigned[0] != id_:
            raise NonsenseError("not what it was sent")
        self.assigned.popleft()

    def _command(self, byte: bytes) -> None:
        with suppress(OSError):
            os.write(self._control, byte)
