"""Hold a worker's end of the pipes to the daemon.

The main thread reads *work* only when it has nothing to do, so that an item costs no thread
hop. A second thread sleeps on *control*; it takes back what was not begun, and it is what ends
the worker within moments when the daemon is dead.

What is put off with `later` is written together with the next thing said, or before the
worker sleeps: the end of one attempt and the beginning of the next are one write.
"""

import os
import select
import signal
import threading
from collections import deque
from collections.abc import Callable

from resumed import wire
from resumed.model import Record
from resumed.wire import Assignment


class LostError(Exception):
    """Say that a pipe to the daemon is closed, by the handler or by the daemon's death."""


class Channel:
    """The conversation with the daemon, one attempt at a time.

    *ended* tells that no more will come than what came.
    """

    def __init__(self, work: int, control: int, report: int) -> None:
        """Speak through these descriptors, which stay open as long as the worker lives."""
        self._work, self._control, self._report = work, control, report
        os.set_blocking(work, False)
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._sleep = select.poll()
        self._sleep.register(work, select.POLLIN)
        self._sleep.register(self._wake, select.POLLIN)
        self.pid = os.getpid()
        self._frames = wire.Frames(limit_bytes=None)
        self._loads: deque[Record] = deque()
        self._arrived: deque[Assignment] = deque()
        self._answers: deque[Record] = deque()
        self._put_off = b""
        self.ended = False
        self._incoming = threading.Lock()
        self._outgoing = threading.Lock()

    def listen(self, on_stop: Callable[[], None], on_death: Callable[[], None]) -> None:
        """Obey *control* from now on, in a thread of its own."""
        arguments = (on_stop, on_death)
        threading.Thread(target=self._listen, args=arguments, name="control", daemon=True).start()

    def load(self) -> Record:
        """Wait for the first frame, which says what to run."""
        return self._await(self._loads)

    def take(self) -> Assignment | None:
        """Return the next assignment if it is there."""
        with self._incoming:
            if self._arrived or (self._receive() and self._arrived):
                return self._arrived.popleft()
            return None

    def answer(self, expected: Record) -> None:
        """Say what was put off, and wait until the daemon answers as *expected*.

        Raises:
            LostError: It never will.
        """
        self.flush()
        while self._await(self._answers) != expected:
            pass

    def say(self, frame: Record) -> None:
        """Write *frame*, and before it what was put off."""
        self.later(frame)
        self.flush()

    def later(self, frame: Record) -> None:
        """Put *frame* off until something else is said."""
        with self._outgoing:
            self._put_off += wire.encode(frame)

    def flush(self) -> None:
        """Write what was put off.

        Raises:
            LostError: Nobody can hear it.
        """
        with self._outgoing:
            if os.getpid() != self.pid:
                raise LostError
            try:
                while self._put_off:
                    self._put_off = self._put_off[os.write(self._report, self._put_off) :]
            except OSError as error:
                raise LostError from error

    def rest(self) -> None:
        """Sleep until there may be something to read."""
        for fd, _ in self._sleep.poll():
            if fd == self._wake:
                os.eventfd_read(self._wake)

    def _await(self, frames: deque[Record]) -> Record:
        while True:
            with self._incoming:
                self._receive()
                if frames:
                    return frames.popleft()
                if self.ended:
                    raise LostError
            self.rest()

    def _receive(self) -> bool:
        """Take what is in the pipe, without waiting; tell whether there was anything."""
        try:
            piece = os.read(self._work, wire.READ_BYTES)
        except BlockingIOError:
            return False
        except OSError as error:
            raise LostError from error
        self.ended = self.ended or not piece
        for frame in self._frames.feed(piece):
            match frame["do"]:
                case "run" | "parts":
                    self._arrived.extend(wire.assigned(frame))
                case "load":
                    self._loads.append(frame)
                case _:
                    self._answers.append(frame)
        return bool(piece)

    def _listen(self, on_stop: Callable[[], None], on_death: Callable[[], None]) -> None:
        # Signals are the main thread's: it must be able to put them off.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            while byte := os.read(self._control, 1):
                if byte == wire.RECALL:
                    self._give_back()
                else:
                    on_stop()
        except (OSError, LostError):
            pass
        on_death()

    def _give_back(self) -> None:
        with self._incoming:
            while self._receive():
                pass
            ids = [each.id for each in self._arrived]
            self._arrived.clear()
            # The main thread may sleep for an answer that was among what was just taken.
            os.eventfd_write(self._wake, 1)
        self.say({"say": "gave_back", "ids": ids})
