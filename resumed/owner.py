"""Become the user whom the state belongs to, when root calls what the service does.

Files that root leaves in the state are closed to the service: its next start would end
before it began. So whoever runs the engine as root for another user's instance does it as
that user, with that user's groups; an instance of root's own stays root's.
"""

import ctypes
import os
import pwd
from contextlib import suppress
from pathlib import Path

_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4


def become_owner(state: Path) -> None:
    """Give up being root for good, unless *state* is missing or is root's."""
    if os.geteuid() != 0:
        return
    with suppress(OSError):
        about = state.stat()
        if about.st_uid != 0:
            _become(about.st_uid, about.st_gid)


def keep_capabilities() -> None:
    """Keep what systemd granted to this process to itself: no handler inherits it."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)


def _become(user: int, group: int) -> None:
    try:
        entry = pwd.getpwuid(user)
    except KeyError:
        os.setgroups([group])
    else:
        group = entry.pw_gid
        os.initgroups(entry.pw_name, group)
    os.setgid(group)
    os.setuid(user)
