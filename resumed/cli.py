"""Be the program `resumed`: run as a daemon, drain once, check, and begin a new home."""

import contextlib
import gc
import os
import sys
import time
from pathlib import Path

import click

from resumed import __version__, alive, config, errors, journald, owner
from resumed.address import Address
from resumed.commandline import CONTEXT, EXIT_STATUSES, invoke, place_options
from resumed.daemon import Daemon
from resumed.drain import Drain
from resumed.errors import ConfigError, LockedError
from resumed.log import EventLog
from resumed.notify import Notifier
from resumed.settings import Config
from resumed.tally import Tally


def main() -> None:
    """Run the program and end it with the status that the outcome has."""
    status = invoke(program, "resumed")
    # A last look for garbage in all that was imported takes longer than the rest of a stop.
    gc.freeze()
    sys.exit(status)


@click.group(epilog=EXIT_STATUSES, context_settings=CONTEXT)
@click.version_option(__version__, prog_name="resumed")
def program() -> None:
    """Process files that are dropped into a folder, and survive anything."""


@program.command()
@place_options
def run(file: Path | None, home: Path | None) -> None:
    """Watch the inbox and process what arrives, until SIGTERM."""
    settings = config.load(file, home=home)
    _take_our_place(settings)
    log = EventLog(settings.log, sys.stderr)
    daemon = Daemon(
        settings,
        log=log,
        notifier=Notifier(os.environ),
        reload=lambda: config.load(file, home=home),
    )
    daemon.run()


@program.command()
@place_options
@click.option("--retry-failures", is_flag=True, help="Take up only what is in failed/.")
@click.option("--wait", is_flag=True, help="Stay for the items that wait for a retry.")
@click.option("--strict", is_flag=True, help="End with 4 when something is left.")
def drain(
    file: Path | None, home: Path | None, *, retry_failures: bool, wait: bool, strict: bool
) -> int:
    """Process everything that is ready now, then end; for cron and by hand."""
    settings = config.load(file, home=home)
    _take_our_place(settings)
    terminal = sys.stdout.isatty()
    log = EventLog(settings.log, sys.stderr, quiet=True)
    daemon = Daemon(settings, log=log, notifier=Notifier({}), reload=lambda: settings)
    with contextlib.ExitStack() as stack:
        show = None
        if terminal:
            from resumed.terminal import progress_bar  # noqa: PLC0415 - rich is for terminals

            show = stack.enter_context(progress_bar())
        work = Drain(retry_failures=retry_failures, wait=wait, show=show)
        try:
            tally = daemon.run(work)
        except LockedError:
            if _is_overlap(settings):
                return errors.EXIT_LOCKED
            raise
    if terminal or retry_failures or tally.failed or tally.not_ready or tally.waiting:
        untried = tally.to_go if daemon.engine.space.on else 0
        click.echo(_sentence(tally, untried, retry_failures=retry_failures))
    for name in () if retry_failures else tally.not_ready:
        click.echo(f"not ready: {name}")
    if tally.failed:
        return errors.EXIT_SOME_FAILED
    left = tally.waiting or tally.not_ready or daemon.engine.paused or daemon.engine.space.on
    return errors.EXIT_LEFT_OVER if strict and left else 0


@program.command()
@place_options
def check(file: Path | None, home: Path | None) -> int:
    """Try the configuration, the handler, the folders and their rights; tell all mistakes."""
    from resumed.check import check as examine  # noqa: PLC0415 - seldom needed
    from resumed.check import in_use  # noqa: PLC0415

    settings = config.load(file, home=home)
    _take_our_place(settings)
    mistakes = examine(settings)
    if mistakes:
        raise ConfigError(tuple(mistakes))
    click.echo(f"{settings.file}: fine")
    if in_use(settings):
        ctl = Address(file, home).ctl
        click.echo(f"an instance is at work here; '{ctl} reload' lets it read this again")
    return errors.EXIT_FINE


@program.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
def init(folder: Path) -> None:
    """Make FOLDER a home: a commented resumed.toml, the folders, an example handler."""
    from resumed.beginning import begin  # noqa: PLC0415 - seldom needed

    for path in begin(folder):
        click.echo(f"made {path}")
    click.echo(f"next: edit {folder}/handler.py, then: resumed run{Address(home=folder).options}")


def _take_our_place(settings: Config) -> None:
    """Be the user whose instance this is, with no more rights than its work needs."""
    owner.become_owner(settings.paths.state)
    owner.keep_capabilities()


def _is_overlap(settings: Config) -> bool:
    """Tell whether a drain met another at work, and nobody is there to wonder.

    Cron sends mail of whatever is said, and an inbox that takes longer than the next turn of
    cron is no news. An instance that holds the lock and does not turn any more is.
    """
    behind = journald.is_behind(sys.stderr.fileno(), os.environ)
    if sys.stderr.isatty() or behind:
        return False
    return alive.probe(settings.paths.lock, time.time()).state == "up"


def _sentence(tally: Tally, untried: int, *, retry_failures: bool) -> str:
    if retry_failures:
        told = f"{tally.done} recovered, {tally.failed + tally.waiting} still failing"
        return f"{told}, {untried} not tried: the intake is paused" if untried else told
    return (
        f"{tally.done} done, {tally.failed} failed, {tally.waiting} waiting, "
        f"{len(tally.not_ready)} not ready"
    )


if __name__ == "__main__":
    main()
