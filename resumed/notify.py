r"""Tell systemd that the daemon is ready, alive, stopping; outside systemd, tell nobody.

The sdnotify package sends text as latin-1 and swallows every error, so that a Japanese file
name would silently drop a whole message, and a newline in a name would add one of its own,
such as ``STOPPING=1``. Hence what came from outside is escaped, UTF-8 is sent in disguise,
and WATCHDOG=1 has a message to itself. A message that does not go out is no error: systemd
acts on its absence.
"""

import os
import time
from collections.abc import Mapping

from sdnotify import SystemdNotifier

from resumed import text

STATUS_LIMIT = 200
# systemd is all but always quick; a daemon that hangs because systemd does helps nobody
_SEND_SECONDS = 2.0


class Notifier:
    """The way to systemd. *environ* is the process's own and is left as it is."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self.watchdog_seconds = _watchdog_seconds(environ)
        self._systemd: SystemdNotifier | None = None
        if environ.get("NOTIFY_SOCKET"):
            self._systemd = SystemdNotifier()
            self._systemd.debug = True  # errors come to us, and go no further

    def ready(self) -> None:
        """Say that a file dropped from now on will be processed; also ends a reload."""
        self._send("READY=1")

    def status(self, sentence: str) -> bool:
        """Show *sentence* in ``systemctl status``, escaped and cut to `STATUS_LIMIT`.

        Never waits: returns False where systemd has no room for it now; say it again then.
        """
        return self._send(f"STATUS={text.shorten(text.escape(sentence), STATUS_LIMIT)}", 0.0)

    def alive(self) -> None:
        """Say that the main loop turns; due every half of `watchdog_seconds`."""
        self._send("WATCHDOG=1")

    def reloading(self) -> None:
        """Say that the configuration is being read; `ready` must follow, however it went."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Say that the end has begun."""
        self._send("STOPPING=1")

    def extend(self, seconds: float) -> None:
        """Ask for *seconds* from now before a start or stop counts as hung."""
        self._send(f"EXTEND_TIMEOUT_USEC={int(seconds * 1_000_000)}")

    def close(self) -> None:
        """Close the socket; later messages go nowhere."""
        if self._systemd is not None and self._systemd.socket is not None:
            self._systemd.socket.close()
        self._systemd = None

    def _send(self, message: str, seconds: float = _SEND_SECONDS) -> bool:
        """Send, waiting for room as long as *seconds*; tell whether there was room."""
        if self._systemd is None or self._systemd.socket is None:
            return True
        self._systemd.socket.settimeout(seconds)
        try:
            # the package's encoding step turns this back into the bytes of UTF-8
            self._systemd.notify(message.encode("utf-8", "replace").decode("latin-1"))
        except (BlockingIOError, TimeoutError):
            return False
        except OSError:
            pass  # nobody is there
        return True


def _watchdog_seconds(environ: Mapping[str, str]) -> float | None:
    """Return after how much silence systemd kills us, None if it does not watch us."""
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    period = environ.get("WATCHDOG_USEC", "")
    if not environ.get("NOTIFY_SOCKET") or not period.isdecimal() or int(period) == 0:
        return None
    return int(period) / 1_000_000
