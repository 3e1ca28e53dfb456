import fcntl
import os
from pathlib import Path

import pytest

from resumed import launch
from resumed.launch import Launch
from resumed.settings import Command, Config, Paths, PythonHandler, Step


def config(handler):
    return Config(
        file=Path("/etc/resumed/resumed.toml"),
        folder=Path("/etc/resumed"),
        handler=handler,
        paths=Paths.below(Path("/spool"), Path("/state")),
        timeout_seconds=5,
        recycle=7,
    )


def test_a_launch_takes_from_the_configuration_what_concerns_workers():
    taken = Launch.of(config(PythonHandler("handler", "process")))

    assert (taken.timeout_seconds, taken.recycle) == (5, 7)
    assert taken.marks == Path("/state/marks")
    assert taken.frame() == {
        "do": "load",
        "folder": "/etc/resumed",
        "out": "/spool/out",
        "steps": [{"step": None, "module": "handler", "function": "process"}],
        "reduce": None,
    }


def test_steps_keep_their_names_and_order():
    steps = (Step("b", Command(("true",))), Step("a", PythonHandler("m", "f")))

    assert Launch.of(config(steps)).frame()["steps"] == [
        {"step": "b", "argv": ["true"]},
        {"step": "a", "module": "m", "function": "f"},
    ]


def test_what_systemd_meant_for_the_daemon_alone_reaches_no_worker():
    names = """
        PATH LANG CREDENTIALS_DIRECTORY NOTIFY_SOCKET WATCHDOG_USEC WATCHDOG_PID LISTEN_FDS
        LISTEN_PID MAINPID JOURNAL_STREAM MEMORY_PRESSURE_WATCH MEMORY_PRESSURE_WRITE
    """
    environ = dict.fromkeys(names.split(), "x")

    assert set(launch.clean_environ(environ)) == {"PATH", "LANG", "CREDENTIALS_DIRECTORY"}


def test_a_worker_that_cannot_be_started_leaves_no_descriptor_open(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(launch.subprocess, "Popen", refuse)
    before = set(os.listdir("/proc/self/fd"))

    with pytest.raises(BlockingIOError):
        launch.start(tmp_path / "0")

    assert set(os.listdir("/proc/self/fd")) == before


def test_the_daemons_ends_are_neither_inherited_nor_waited_for(tmp_path):
    started = launch.start(tmp_path / "0")

    ends = (started.work, started.control, started.report, started.output, started.ending)
    assert not any(os.get_inheritable(fd) for fd in ends)
    assert all(fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK for fd in ends)

    for fd in ends:
        os.close(fd)
    assert started.process.wait(30) != 0
