"""Send entries to the system's journal with fields that ``journalctl`` can match.

An entry is one datagram: ``KEY=value`` a line, or, where a value holds a newline, the key,
its length as 64 bits little endian, and the value. Nothing is kept open between entries, so
that a restart of journald is not even noticed.
"""

import os
import socket
import struct
from collections.abc import Mapping
from pathlib import Path

SOCKET = Path("/run/systemd/journal/socket")
# A larger datagram needs a file descriptor of its own; nobody reads so long an entry.
LIMIT_BYTES = 180_000
PATIENCE_SECONDS = 1.0


def is_behind(fd: int, environ: Mapping[str, str]) -> bool:
    """Tell whether what is written to *fd* goes to the journal, as JOURNAL_STREAM says."""
    try:
        status = os.fstat(fd)
    except OSError:
        return False
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def encode(fields: Mapping[str, str]) -> bytes:
    """Make one entry; what is beyond `LIMIT_BYTES` is cut, so the longest goes last."""
    entry = bytearray()
    for key, value in fields.items():
        room = max(0, LIMIT_BYTES - len(entry) - len(key) - 10)
        content = _encode_value(value)[:room]
        if b"\n" in content:
            entry += b"%s\n%s%s\n" % (key.encode(), struct.pack("<Q", len(content)), content)
        else:
            entry += b"%s=%s\n" % (key.encode(), content)
    return bytes(entry)


def send(
    fields: Mapping[str, str], path: Path = SOCKET, *, patience_seconds: float = PATIENCE_SECONDS
) -> bool:
    """Send one entry, and tell whether journald took it within *patience_seconds*."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.settimeout(patience_seconds)
        try:
            sender.sendto(encode(fields), str(path))
        except OSError:
            return False
    return True


def _encode_value(value: str) -> bytes:
    try:
        # a file name has its very bytes again
        return value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return value.encode("utf-8", "backslashreplace")
