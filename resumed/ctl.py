"""Be the program `resumed-ctl`: look at an instance, and ask its daemon for changes.

Whatever looks replays the journal and lists folders; no daemon is needed, and none is
disturbed. Whatever changes is a request that the daemon answers. Each command is loaded only
when it is called, so that the usual ones start at once.
"""

import gc
import importlib
import sys
from pathlib import Path

import click

from resumed import __version__
from resumed.commandline import CONTEXT, EXIT_STATUSES, invoke, place_options
from resumed.site import Site, color_option

COMMANDS = {
    "status": "resumed.looking",
    "why": "resumed.wondering",
    "ls": "resumed.looking",
    "failures": "resumed.failing",
    "show": "resumed.telling",
    "history": "resumed.telling",
    "export": "resumed.telling",
    "log": "resumed.telling",
    "put": "resumed.dropping",
    "retry": "resumed.wishing",
    "hold": "resumed.wishing",
    "release": "resumed.wishing",
    "remove": "resumed.wishing",
    "cancel": "resumed.jobbing",
    "submit": "resumed.submitting",
    "jobs": "resumed.jobbing",
    "pause": "resumed.wishing",
    "unpause": "resumed.wishing",
    "reload": "resumed.wishing",
    "audit": "resumed.examining",
    "health": "resumed.examining",
    "metrics": "resumed.examining",
    "doctor": "resumed.examining",
    "report": "resumed.examining",
    "journal": "resumed.mending",
}


class _Program(click.Group):
    """A group whose commands are loaded by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List the commands in the order in which a person meets them."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load one command."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(COMMANDS[cmd_name])
        command = getattr(module, f"{cmd_name}_command")
        if not isinstance(command, click.Command):
            return None
        below = command.commands.values() if isinstance(command, click.Group) else ()
        for each in (command, *below):
            if all(option.name != "color" for option in each.params):
                color_option(each)  # here, too, as people write it
        return command


@click.command(cls=_Program, epilog=EXIT_STATUSES, context_settings=CONTEXT)
@click.version_option(__version__, prog_name="resumed-ctl")
@place_options
@color_option
@click.pass_context
def program(context: click.Context, file: Path | None, home: Path | None) -> None:
    """Look at what resumed does, and ask it for changes.

    Reading works whether the daemon runs or not. A change is a request that the daemon
    answers; when it is down, the request waits for its next start. With --json each command
    prints one object a line, in ASCII.
    """
    context.obj = Site(file, home)


def main() -> None:
    """Run the program and end it with the status that the outcome has."""
    status = invoke(program, "resumed-ctl")
    # A last look for garbage in all that was imported takes longer than the rest of a stop.
    gc.freeze()
    sys.exit(status)


if __name__ == "__main__":
    main()
