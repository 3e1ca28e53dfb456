"""Give both programs the same options, the same exit statuses and the same last words."""

import os
import select
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from resumed import errors
from resumed.address import Address
from resumed.errors import ResumedError
from resumed.place import DEFAULT_FILE

EXIT_STATUSES = """\b
Exit statuses:
  0   fine
  1   some items failed (drain); nothing matched, refused, or wrong (resumed-ctl)
  2   usage
  4   something is left (drain --strict); not over in time (jobs wait)
  70  a fault of this program
  74  the disk refused something
  75  another instance is at work here
  78  the configuration or the journal needs a person
"""
INTERRUPTED = 130
_LAST_STANDARD = 2
_PLACE_OPTIONS = frozenset({"-c", "--config", "--home"})

CONTEXT: dict[str, Any] = {"help_option_names": ["-h", "--help"]}


def invoke(command: click.Command, name: str) -> int:  # noqa: PLR0911 - one for each end
    """Run a click command; return the exit status, and say on stderr what went wrong."""
    _open_closed_streams()
    # Who starts us may ignore it; then no process that we start would tell how it ended.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # Or block some, and what is blocked reaches neither us nor what we start.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for stream in (sys.stdout, sys.stderr):
        # A name that the terminal cannot show must not end the program.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr] # text streams
    address = Address()
    try:
        status = command.main(prog_name=name, standalone_mode=False, obj=address)
        sys.stdout.flush()
    except click.exceptions.Abort:
        return INTERRUPTED
    except click.ClickException as error:
        _placed(error, name).show()
        return errors.EXIT_USAGE
    except ResumedError as error:
        _say(name, address.complete(str(error)))
        return error.exit_status
    except BrokenPipeError:
        return _unheard()
    except SystemExit:
        # That is click's own answer to a broken pipe, too.
        if _nobody_reads():
            return _unheard()
        raise
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        _say(name, f"{place}{error.strerror or error}")
        return errors.EXIT_STORAGE
    except Exception:  # noqa: BLE001 - whatever else comes up here is a fault of ours
        import traceback  # noqa: PLC0415 - nobody else pays for our faults

        traceback.print_exc()
        return errors.EXIT_OUR_FAULT
    return status if isinstance(status, int) else errors.EXIT_FINE


def _open_closed_streams() -> None:
    """Let a standard stream that was closed lead nowhere, before a file of ours takes its place.

    Python has no stream then, and whatever is printed by a program of ours, or by one that it
    starts, would end up in the file that was opened next.
    """
    while (fd := os.open(os.devnull, os.O_RDWR)) <= _LAST_STANDARD:
        os.set_inheritable(fd, True)
    os.close(fd)
    for number, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w", closefd=False))


def _placed(error: click.ClickException, name: str) -> click.ClickException:
    """Say of an option that names the instance where it belongs, not what it looks like."""
    if not isinstance(error, click.NoSuchOption) or error.option_name not in _PLACE_OPTIONS:
        return error
    form = f"{name} COMMAND --home DIR" if name == "resumed" else f"{name} --home DIR COMMAND"
    return click.UsageError(f"{error.option_name} stands elsewhere: {form}", error.ctx)


def _nobody_reads() -> bool:
    poll = select.poll()
    poll.register(1, 0)
    return any(events & select.POLLERR for _, events in poll.poll(0))


def _unheard() -> int:
    """Let what is still buffered go nowhere: who read our output has seen enough."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return errors.EXIT_FINE


def place_options(function: Callable[..., object]) -> Callable[..., object]:
    """Add ``-c`` and ``--home``, by which every command finds its instance."""
    home = click.option(
        "--home",
        type=click.Path(path_type=Path, file_okay=False),
        callback=_note,
        help="One folder for everything: DIR/resumed.toml, DIR/inbox, DIR/state, ...",
    )
    file = click.option(
        "-c",
        "--config",
        "file",
        type=click.Path(path_type=Path, dir_okay=False),
        callback=_note,
        help=f"The configuration file.  [default: {DEFAULT_FILE}]",
    )
    return file(home(function))


def _note(context: click.Context, option: click.Parameter, given: Path | None) -> Path | None:
    """Remember which instance is meant, for what is said at the end."""
    address = context.find_object(Address)
    if address is not None and option.name is not None:
        setattr(address, option.name, given)
    return given


def _say(name: str, message: str) -> None:
    for line in message.splitlines():
        click.echo(f"{name}: {line}", err=True)
