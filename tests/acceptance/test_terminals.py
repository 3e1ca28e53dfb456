"""Look through real terminals, pipes and pagers: colours only where wanted, nothing cut off."""

import contextlib
import fcntl
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import termios

import pytest

from resumed.listing import width

ESCAPE = "\x1b["
TROUBLE = f"{ESCAPE}31m"


@pytest.fixture
def on_terminal(home):
    """Run a shell line on a terminal of so many columns; return what it shows."""

    def run(line, columns=80, **environ):
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 200, columns, 0, 0))
        ctl = f"{sys.executable} -m resumed.ctl --home {home.path}"
        unset = ("NO_COLOR", "COLUMNS", "LINES", "LESS", "TERM")
        kept = {key: each for key, each in os.environ.items() if key not in unset}
        with subprocess.Popen(
            ["sh", "-c", line.replace("resumed-ctl", ctl)],
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=subprocess.DEVNULL,
            env={**kept, "TERM": "xterm", **environ},
        ):
            os.close(theirs)
            shown = b""
            with contextlib.suppress(OSError):  # EIO is a terminal's end of file
                while piece := os.read(ours, 65536):
                    shown += piece
        os.close(ours)
        return shown.decode().replace("\r\n", "\n")

    return run


@pytest.mark.parametrize(
    ("line", "environ", "coloured"),
    [
        ("resumed-ctl status", {}, True),
        ("resumed-ctl status", {"NO_COLOR": "1"}, False),
        ("resumed-ctl status", {"TERM": "dumb"}, False),
        ("resumed-ctl status | cat", {}, False),
        ("resumed-ctl status --color never", {}, False),
        ("resumed-ctl status --color always | cat", {}, True),
        ("resumed-ctl --color always status | cat", {"NO_COLOR": "1"}, True),
        ("resumed-ctl --color never status --color auto", {}, True),
        ("resumed-ctl status --json --color always", {}, False),
    ],
)
def test_colours_are_where_they_are_wanted(on_terminal, line, environ, coloured):
    assert (TROUBLE in on_terminal(line, **environ)) == coloured


@pytest.mark.skipif(shutil.which("less") is None, reason="less is not installed")
def test_a_pager_shows_the_colours_that_were_asked_for(on_terminal):
    shown = on_terminal("resumed-ctl status --color always | less -R -F -X")

    assert TROUBLE in shown
    assert "ESC" not in shown


@pytest.mark.parametrize("columns", [40, 20])
def test_a_narrow_terminal_is_not_overrun_and_nothing_is_lost(on_terminal, home, columns):
    for number in range(4):
        (home.inbox / f"写真 {number}.jpg").touch()
    wide = on_terminal("resumed-ctl status --color never | cat")

    narrow = on_terminal("resumed-ctl status --color never", columns)

    longest_word = max(width(word) for word in wide.split())
    assert max(map(width, narrow.splitlines())) <= max(columns, 4 + longest_word)
    assert words(narrow) == words(wide)


def words(shown):
    """Leave out what changes from one look to the next: free space."""
    return [each for each in shown.split() if not re.fullmatch(r"[\d.]+", each)]


def test_the_width_that_a_person_exports_counts(on_terminal):
    wide, narrow = (
        on_terminal("resumed-ctl doctor --color never", 200, **environ)
        for environ in ({}, {"COLUMNS": "40"})
    )

    assert len(narrow.splitlines()) > len(wide.splitlines())


def test_a_pipe_gets_each_line_whole(on_terminal):
    piped = on_terminal("resumed-ctl doctor | cat", 40)

    assert all(each.startswith(("fine", "warning", "wrong")) for each in piped.splitlines())
