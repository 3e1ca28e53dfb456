"""Try everything that a start depends on, and list all that is wrong at once."""

import os
import selectors
import shutil
import stat
import tempfile
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from resumed import alive, parts
from resumed.errors import ConfigError, Mistake
from resumed.launch import Launch
from resumed.pool import Pool
from resumed.report import Loaded, LoadFailed
from resumed.settings import Command, Config, Step
from resumed.spool import Spool

LOAD_SECONDS = 60.0


def check(config: Config) -> list[Mistake]:
    """Return what would keep *config* from working; nothing is left behind."""
    mistakes = _check_state(config)
    try:
        spool = Spool(config.paths)
    except ConfigError as error:
        mistakes += error.mistakes
    else:
        with_place = config.paths.spool
        mistakes += [Mistake(with_place, 0, problem) for problem in spool.prove()]
        spool.close()
    return mistakes + _check_handler(config) + _check_programs(config)


def in_use(config: Config) -> bool:
    """Tell whether an instance is at work on *config*'s folders, and disturb none."""
    for lock in (config.paths.lock, config.paths.active / parts.ACTIVE_LOCK):
        with suppress(PermissionError):
            if alive.probe(lock, time.time()).state != "down":
                return True
    return False


def _check_state(config: Config) -> list[Mistake]:
    state = config.paths.state
    try:
        mode = state.stat().st_mode
    except OSError as error:
        return [Mistake(state, 0, f"{error.strerror}: make the folder, or mend [paths]")]
    if not stat.S_ISDIR(mode):
        return [Mistake(state, 0, "is not a folder: mend [paths]")]
    if not os.access(state, os.R_OK | os.W_OK | os.X_OK):
        return [Mistake(state, 0, "is closed to this user: change its owner, or run as another")]
    if mode & stat.S_IWOTH:
        return [Mistake(state, 0, "may be written by everybody: chmod o-w")]
    return []


def _check_programs(config: Config) -> list[Mistake]:
    """Look for each program where a start of it would."""
    handler = config.handler
    steps = handler if isinstance(handler, tuple) else (Step("command", handler),)
    named = [(step.name, step.run) for step in steps]
    named += [(name, getattr(config, name)) for name in ("probe", "on_failure", "on_alarm")]
    return [
        Mistake(config.file, 0, f"{name}: no program {run.argv[0]!r}; install it, or name its path")
        for name, run in named
        if isinstance(run, Command) and not _may_be_there(run.argv[0])
    ]


def _may_be_there(program: str) -> bool:
    # What depends on the item, or on the folder of an attempt, is not known before.
    depends = "{" in program or ("/" in program and not program.startswith("/"))
    return depends or shutil.which(program) is not None


def _check_handler(config: Config) -> list[Mistake]:
    """Import the handler in a worker, as a start would."""
    with selectors.DefaultSelector() as selector, tempfile.TemporaryDirectory() as marks:

        def watch(fd: int, events: int) -> None:
            if fd in selector.get_map():
                selector.unregister(fd)
            if events:
                selector.register(fd, events)

        pool = Pool(replace(Launch.of(config), marks=Path(marks)), 1, watch)
        pool.start()
        try:
            until = time.monotonic() + LOAD_SECONDS
            while time.monotonic() < until:
                for key, events in selector.select(1.0):
                    for report in pool.ready(key.fd, events):
                        if isinstance(report, LoadFailed):
                            return [Mistake(config.file, 0, f"the handler: {report.text}")]
                        if isinstance(report, Loaded):
                            return []
            return [Mistake(config.file, 0, f"the handler was not imported in {LOAD_SECONDS} s")]
        finally:
            pool.close()
