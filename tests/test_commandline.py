import subprocess
import sys

import click
import pytest

from resumed import cli, commandline, ctl

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


@pytest.mark.parametrize("closed", [(1,), (2,), (0, 1, 2)])
@pytest.mark.parametrize("module", ["cli", "ctl"])
def test_a_standard_stream_that_is_closed_leads_nowhere(module, closed):
    """What is opened later must not get its number, where others would print into it."""
    look = f"""\
import os, sys
from resumed import {module}
sys.argv = ["it", "--version"]
try:
    {module}.main()
finally:
    places = [os.readlink(f"/proc/self/fd/{{fd}}") for fd in {closed}]
    os._exit(0 if set(places) == {{"/dev/null"}} and sys.exc_info()[1].code == 0 else 9)
"""
    close = " ".join(f"{fd}>&-" for fd in closed)

    ended = subprocess.run(
        ["sh", "-c", f'exec "$0" -c "$1" {close}', sys.executable, look],
        capture_output=True,
        check=False,
    )

    assert (ended.returncode, ended.stderr) == (0, b"")


def test_whoever_starts_it_may_ignore_that_children_end(tmp_path):
    home = tmp_path / "home"
    resumed = [sys.executable, "-m", "resumed.cli"]
    deaf = "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
    deaf += "os.execv(sys.argv[1], sys.argv[1:])"
    subprocess.run([*resumed, "init", home], check=True, capture_output=True)
    (home / "resumed.toml").write_text('command = ["true"]\nprobe = ["true"]\nsettle = 0\n')
    (home / "inbox/a.txt").write_text("content")

    ended = subprocess.run(
        [sys.executable, "-c", deaf, *resumed, "drain", "--home", home],
        capture_output=True,
        check=False,
    )

    assert (ended.returncode, ended.stderr) == (0, b"")
    assert (home / "done/a.txt").exists()


@pytest.mark.parametrize("module", ["cli", "ctl"])
def test_whoever_starts_it_may_block_signals(module):
    start = f"""\
import signal, sys
from resumed import {module}
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
sys.argv = ["it", "--version"]
try:
    {module}.main()
finally:
    sys.exit(len(signal.pthread_sigmask(signal.SIG_BLOCK, ())))
"""

    ended = subprocess.run([sys.executable, "-c", start], capture_output=True, check=False)

    assert (ended.returncode, ended.stderr) == (0, b"")


@pytest.mark.parametrize(
    ("program", "line", "told"),
    [
        (cli.program, "resumed --home x run", "--home stands elsewhere: resumed COMMAND --home"),
        (cli.program, "resumed -c x check", "-c stands elsewhere: resumed COMMAND --home DIR"),
        (ctl.program, "resumed-ctl status -c x", "-c stands elsewhere: resumed-ctl --home DIR"),
        (ctl.program, "resumed-ctl jobs ls --config x", "--config stands elsewhere: resumed-ctl"),
    ],
)
def test_an_option_at_the_wrong_place_is_told_the_right_one(
    monkeypatch, capsys, program, line, told
):
    monkeypatch.setattr(sys, "argv", line.split())

    status = commandline.invoke(program, line.split()[0])

    assert status == 2
    assert told in capsys.readouterr().err


def test_every_command_takes_the_colours_that_a_person_wants():
    with click.Context(ctl.program) as context:
        commands = [ctl.program.get_command(context, name) for name in ctl.COMMANDS]
    below = [each for group in commands for each in getattr(group, "commands", {}).values()]

    assert len(below) >= 6
    for command in (*commands, *below):
        assert "--color" in [word for option in command.params for word in option.opts]
