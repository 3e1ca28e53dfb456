"""Keep standard output and standard error of a worker usable, whatever a handler makes of them.

Programs wrap these two streams, replace, detach and close them, and a wrapper that is thrown
away closes what it wrapped. The descriptors below are the worker's own matter.
"""

import os
import sys
from contextlib import suppress

_STREAMS = (("stdout", 1), ("stderr", 2))


def flush() -> None:
    """Write what was printed and is still in memory."""
    for name, _ in _STREAMS:
        _flush(getattr(sys, name, None))


def put_back() -> None:
    """Have streams on the descriptors 1 and 2 again, new ones where the old were touched."""
    for name, fd in _STREAMS:
        stream = getattr(sys, f"__{name}__", None)
        # One that was replaced may be closed by what replaced it, now or later.
        if getattr(sys, name, None) is stream and _is_open(stream):
            continue
        _flush(stream)
        fresh = os.fdopen(fd, "w", buffering=1, errors="backslashreplace", closefd=False)
        setattr(sys, f"__{name}__", fresh)
        setattr(sys, name, fresh)


def _flush(stream: object) -> None:
    with suppress(Exception):  # it may be anything by now
        stream.flush()  # type: ignore[attr-defined]


def _is_open(stream: object) -> bool:
    try:
        return not stream.closed  # type: ignore[attr-defined]
    except (AttributeError, ValueError):  # nothing of the kind, or detached
        return False
