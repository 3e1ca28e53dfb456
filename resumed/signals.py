"""Turn signals and other threads' calls into something that the loop can wait for.

A handler in Python may only set a flag and wake the loop: taking a lock or setting a
`threading.Event` there can deadlock with the code it interrupted. So signals go into a pipe
that the interpreter itself writes, and everybody else who wants the loop writes a NUL.
"""

import os
import signal
from contextlib import suppress

_HEARD = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_READ_BYTES = 4096


class Signals:
    """The loop's ear: *fd* becomes readable when something happened."""

    def __init__(self) -> None:
        """Take over the signals; call in the main thread, before others are started."""
        self.fd, self._ear = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._before_fd = signal.set_wakeup_fd(self._ear, warn_on_full_buffer=False)
        self._before = {number: signal.signal(number, _ignore) for number in _HEARD}

    def wake(self) -> None:
        """Wake the loop; from any thread, any number of times."""
        # A full pipe wakes it as well.
        with suppress(OSError):
            os.write(self._ear, b"\0")

    def take(self) -> list[int]:
        """Return the signals that came, and forget them and all wakings."""
        heard: list[int] = []
        with suppress(BlockingIOError):
            while content := os.read(self.fd, _READ_BYTES):
                heard += [number for number in content if number]
        return heard

    def close(self) -> None:
        """Give the signals back."""
        signal.set_wakeup_fd(self._before_fd)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self._ear)
        os.close(self.fd)
        self._ear = -1


def _ignore(_number: int, _frame: object) -> None:
    """Do nothing: the interpreter has written the number into the pipe already."""
