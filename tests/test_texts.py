"""The manual pages and completions, which are made from the program, lack nothing of it."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from resumed import cli, ctl, errors
from resumed.reference import REFERENCE, TABLES

SCRIPT = Path(__file__).parent.parent / "packaging" / "texts.py"
PROGRAMS = {"resumed": cli.program, "resumed-ctl": ctl.program}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    subprocess.run([sys.executable, SCRIPT, folder], check=True)
    return folder


def page(made, name):
    """Read a page as a person sees it, without the escapes of roff."""
    text = (made / "man" / name).read_text()
    return text.replace("\\-", "-").replace("\\(dq", '"').replace("\\e", "\\").replace("\\&", "")


def section(text, title):
    return re.search(rf"^\.Sh {title}\n(.*?)(?=^\.Sh |\Z)", text, re.DOTALL | re.MULTILINE)[1]


def below(command, path=()):
    """Yield every command that a person can find, with its path."""
    context = click.Context(command)
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        if not found.hidden:
            yield (*path, name), found
            if isinstance(found, click.Group):
                yield from below(found, (*path, name))


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_command_is_in_the_manual_with_all_its_options(made, program):
    told = section(page(made, f"{program}.1"), "COMMANDS")
    parts = dict(re.findall(r"^\.Ss ([a-z -]*[a-z]).*\n((?:(?!\.Ss).*\n)*)", told, re.MULTILINE))

    commands = dict(below(PROGRAMS[program]))
    assert len(commands) >= 4
    for path, command in commands.items():
        text = parts[" ".join(path)]
        for option in command.params:
            if isinstance(option, click.Option) and not option.hidden:
                assert all(each in text for each in option.opts), (path, option.opts)


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_exit_status_is_in_the_manual(made, program):
    told = section(page(made, f"{program}.1"), "EXIT STATUS")

    statuses = {value for name, value in vars(errors).items() if name.startswith("EXIT_")}
    assert set(map(int, re.findall(r"^\.It Sy (\d+)$", told, re.MULTILINE))) == statuses


def test_every_setting_is_in_the_manual(made):
    told = section(page(made, "resumed.toml.5"), "SETTINGS")

    assert re.findall(r"^\.Ss \[(.*)\]$", told, re.MULTILINE) == list(TABLES)
    terms = re.findall(r"^\.It Sy (.*)$", told, re.MULTILINE)
    assert sorted(terms) == sorted(setting.name for setting in REFERENCE)


@pytest.mark.parametrize("name", ["resumed.1", "resumed-ctl.1", "resumed.toml.5"])
def test_a_manual_is_sound_mdoc(made, name):
    if shutil.which("mandoc") is None:
        pytest.skip("mandoc is not installed")

    ended = subprocess.run(
        ["mandoc", "-Tlint", "-Wwarning", made / "man" / name],
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.stdout == ""


@pytest.mark.parametrize("shell", ["bash/", "zsh/_", "fish/"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_each_shell_asks_the_program_itself(made, shell, program):
    [script] = made.glob(f"{shell}{program}{'.fish' if shell == 'fish/' else ''}")

    assert f"_{program.replace('-', '_').upper()}_COMPLETE" in script.read_text()


def test_the_first_configuration_shows_all_settings_and_sets_none(made):
    lines = (made / "resumed.toml").read_text().splitlines()

    assert all(not line or line[0] in "#[" for line in lines)
    for setting in REFERENCE:
        assert any(re.match(rf"#(\[\[)?{setting.name}( =|\]\])", line) for line in lines), (
            setting.name
        )
