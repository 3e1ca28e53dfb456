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

from resumed import alive, parts, raised, toml
from resumed.errors import ConfigError, Mistake
from resumed.folders import MORE
from resumed.launch import Launch
from resumed.pool import Pool
from resumed.report import Loaded, LoadFailed, WorkerDied
from resumed.settings import Command, Config
from resumed.spool import Spool
from resumed.toml import Document, Key

LOAD_SECONDS = 60.0


def check(config: Config) -> list[Mistake]:
    """Return what would keep *config* from working; nothing is left behind."""
    mistakes = _check_state(config)
    try:
        spool = Spool(config.paths)
    except ConfigError as error:
        # Who reads this has just asked for all of it.
        mistakes += [replace(each, text=each.text.removesuffix(MORE)) for each in error.mistakes]
    else:
        with_place = config.paths.spool
        mistakes += [Mistake(with_place, 0, problem) for problem in spool.prove()]
        spool.close()
    where = toml.read(config.file)
    mistakes += _check_handler(config)
    return [*mistakes, *_check_programs(config, where), *_check_exceptions(config, where)]


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
    if os.statvfs(state).f_flag & os.ST_RDONLY:
        return [Mistake(state, 0, "is on a read-only file system: mount it for writing")]
    if not os.access(state, os.R_OK | os.W_OK | os.X_OK):
        return [Mistake(state, 0, "is closed to this user: change its owner, or run as another")]
    if mode & stat.S_IWOTH:
        return [Mistake(state, 0, "may be written by everybody: chmod o-w")]
    return []


def _check_programs(config: Config, where: Document) -> list[Mistake]:
    """Look for each program where a start of it would."""
    handler = config.handler
    named: list[tuple[Key, str, object]] = [(("command",), "command", handler)]
    if isinstance(handler, tuple):
        keys: list[Key] = [("steps", number, "command") for number in range(len(handler))]
        named = [(key, step.name, step.run) for key, step in zip(keys, handler, strict=True)]
    hooks = ("probe", "on_failure", "on_alarm")
    named += [((name,), name, getattr(config, name)) for name in hooks]
    named += [(("job", "reduce"), "job.reduce", config.job and config.job.reduce)]
    return [
        where.mistake(key, f"{name}: no program {run.argv[0]!r}; install it, or name its path")
        for key, name, run in named
        if isinstance(run, Command) and not _may_be_there(run.argv[0])
    ]


def _check_exceptions(config: Config, where: Document) -> list[Mistake]:
    """Look for each exception that is named: a misspelt one is never raised."""
    named = {("retry", "retry_on"): config.retry.retry_on}
    if config.job:
        named["job", "fail_job_on"] = config.job.fail_job_on
    wanted = dict.fromkeys(name for names in named.values() for name in names if "." in name)
    faults = raised.faults(config.folder, tuple(wanted))
    return [
        where.mistake(key, f"{'.'.join(key)} has {name!r}: {faults[name]}")
        for key, names in named.items()
        for name in names
        if name in faults
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
                        if isinstance(report, WorkerDied):
                            return [Mistake(config.file, 0, f"the handler: {report.load_fault}")]
            return [Mistake(config.file, 0, f"the handler was not imported in {LOAD_SECONDS} s")]
        finally:
            pool.close()
