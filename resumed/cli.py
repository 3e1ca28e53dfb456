"""Be the program `resumed`: run as a daemon, drain once, check, and begin a new home."""

import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

import click

from resumed import __version__, config, errors
from resumed.daemon import Daemon, Tally
from resumed.drain import Drain
from resumed.errors import ConfigError, ResumedError
from resumed.log import EventLog
from resumed.notify import Notifier
from resumed.settings import Config

EXIT_STATUSES = """\b
Exit statuses:
  0   fine
  1   some items failed (drain)
  2   usage
  4   items wait or were not ready (drain --strict)
  70  a fault of this program
  74  the disk refused something
  75  another instance is at work here
  78  the configuration or the journal needs a person
"""

_Place = Callable[[Callable[..., None]], Callable[..., None]]


def main() -> None:
    """Run the program and end it with the status that the outcome has."""
    sys.exit(invoke(program, "resumed"))


def invoke(command: click.Command, name: str) -> int:
    """Run a click command; return the exit status, and say on stderr what went wrong."""
    try:
        status = command.main(prog_name=name, standalone_mode=False)
    except click.exceptions.Abort:
        return 130
    except click.ClickException as error:
        error.show()
        return errors.EXIT_USAGE
    except ResumedError as error:
        _say(name, str(error))
        return error.exit_status
    except BrokenPipeError:
        # Who read our output has seen enough; what is buffered must not complain either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        _say(name, f"{place}{error.strerror or error}")
        return errors.EXIT_STORAGE
    return status if isinstance(status, int) else 0


def place_options(function: Callable[..., object]) -> Callable[..., object]:
    """Add ``-c`` and ``--home``, by which every command finds its instance."""
    home = click.option(
        "--home",
        type=click.Path(path_type=Path, file_okay=False),
        help="One folder for everything: DIR/resumed.toml, DIR/inbox, DIR/state, ...",
    )
    file = click.option(
        "-c",
        "--config",
        "file",
        type=click.Path(path_type=Path, dir_okay=False),
        help=f"The configuration file.  [default: {config.DEFAULT_FILE}]",
    )
    return file(home(function))


@click.group(
    epilog=EXIT_STATUSES, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(__version__, prog_name="resumed")
def program() -> None:
    """Process files that are dropped into a folder, and survive anything."""


@program.command()
@place_options
def run(file: Path | None, home: Path | None) -> None:
    """Watch the inbox and process what arrives, until SIGTERM."""
    settings = config.load(file, home=home)
    log = EventLog(settings.log, sys.stderr)
    daemon = Daemon(settings, log=log, notifier=Notifier(os.environ), reload=lambda: config.load(file, home=home))
    daemon.run()


@program.command()
@place_options
@click.option("--retry-failures", is_flag=True, help="Take up what is in failed/, and nothing else.")
@click.option("--wait", is_flag=True, help="Stay until the items that wait for a retry are over too.")
@click.option("--strict", is_flag=True, help="End with 4 when items wait or were not ready.")
def drain(
    file: Path | None, home: Path | None, *, retry_failures: bool, wait: bool, strict: bool
) -> int:
    """Process everything that is ready now, then end; for cron and by hand."""
    settings = config.load(file, home=home)
    terminal = sys.stdout.isatty()
    log = EventLog(settings.log, sys.stderr, quiet=True)
    daemon = Daemon(settings, log=log, notifier=Notifier({}), reload=lambda: settings)
    with contextlib.ExitStack() as stack:
        watch = None
        if terminal:
            from resumed.terminal import progress_bar  # noqa: PLC0415 - rich is for terminals

            watch = stack.enter_context(progress_bar())
        work = Drain(retry_failures=retry_failures, wait=wait, watch=watch)
        tally = daemon.run(work)
    if terminal or tally.failed or tally.not_ready or tally.waiting or retry_failures:
        click.echo(_sentence(tally, retry_failures=retry_failures))
    for name in tally.not_ready:
        click.echo(f"not ready: {name}")
    if tally.failed:
        return errors.EXIT_SOME_FAILED
    return errors.EXIT_LEFT_OVER if strict and (tally.waiting or tally.not_ready) else 0


def _sentence(tally: Tally, *, retry_failures: bool) -> str:
    if retry_failures:
        return f"{tally.done} recovered, {tally.failed + tally.waiting} still failing"
    return (
        f"{tally.done} done, {tally.failed} failed, {tally.waiting} waiting, "
        f"{len(tally.not_ready)} not ready"
    )


def _say(name: str, message: str) -> None:
    for line in message.splitlines():
        click.echo(f"{name}: {line}", err=True)


if __name__ == "__main__":
    main()
