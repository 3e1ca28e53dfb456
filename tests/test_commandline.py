import subprocess
import sys

import click
import pytest

from resumed import ctl

ENDING = """\
import atexit, gc, sys
from resumed import {module}
atexit.register(lambda: print("frozen" if gc.get_freeze_count() else "not frozen"))
sys.argv = ["it", "no-such-command"]
{module}.main()
"""


@pytest.mark.parametrize("module", ["cli", "ctl"])
def test_a_program_ends_with_its_status_and_without_looking_for_garbage(module):
    ended = subprocess.run(
        [sys.executable, "-c", ENDING.format(module=module)], capture_output=True, check=False
    )

    assert (ended.returncode, ended.stdout) == (2, b"frozen\n")


def test_every_command_takes_the_colours_that_a_person_wants():
    with click.Context(ctl.program) as context:
        commands = [ctl.program.get_command(context, name) for name in ctl.COMMANDS]
    below = [each for group in commands for each in getattr(group, "commands", {}).values()]

    assert len(below) >= 6
    for command in (*commands, *below):
        assert "--color" in [word for option in command.params for word in option.opts]
