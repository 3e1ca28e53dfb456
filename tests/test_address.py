"""Follow the advice that is printed: it must reach the instance that was meant."""

import re
import shlex
import sys
from pathlib import Path

import pytest

from resumed import address, cli, commandline, ctl
from resumed.address import Address


@pytest.mark.parametrize(
    ("given", "options"),
    [
        (Address(), ""),
        (Address(home=Path("x")), " --home x"),
        (Address(home=Path("/srv/my scans")), " --home '/srv/my scans'"),
        (Address(Path("/etc/resumed/a.toml")), " -c /etc/resumed/a.toml"),
    ],
)
def test_commands_in_a_message_get_the_options_of_their_instance(given, options):
    told = "damaged; 'resumed-ctl journal check' tells more, 'resumed check' and 'resumed run', too"

    completed = given.complete(told)

    assert f"'resumed-ctl{options} journal check'" in completed
    assert f"'resumed check{options}' and 'resumed run{options}'" in completed
    assert given.complete(completed) == completed
    assert given.ctl == f"resumed-ctl{options}"
    assert Address(home=Path("x")).complete("make one with 'resumed init'") == (
        "make one with 'resumed init'"
    )


@pytest.mark.parametrize(
    ("ctl_command", "started"),
    [
        ("resumed-ctl", "systemctl start resumed"),
        ("resumed-ctl -c /etc/resumed/scans.toml", "systemctl start resumed@scans"),
        ("resumed-ctl -c /srv/x/scans.toml", "resumed run -c /srv/x/scans.toml"),
        ("resumed-ctl --home '/srv/a b'", "resumed run --home '/srv/a b'"),
    ],
)
def test_a_daemon_is_started_as_its_instance_is(ctl_command, started):
    assert address.start(ctl_command) == started


@pytest.fixture(params=["home", "file"])
def options(request, home):
    """Address a home by both options; its path has a blank in it."""
    home.path.rename(spaced := home.path.parent / "my scans")
    home.path = spaced
    (spaced / "resumed.toml").write_text(
        'command = ["true"]\nsettle = 0\n[paths]\nspool = "."\nstate="state"\n'
    )
    return ["--home", str(spaced)] if request.param == "home" else ["-c", f"{spaced}/resumed.toml"]


@pytest.fixture
def say(options, capsys, monkeypatch):
    def run(program, *arguments):
        line = [program, *options, *arguments]
        if program == "resumed":
            line = [program, *arguments, *options]
        monkeypatch.setattr(sys, "argv", line)
        commandline.invoke(ctl.program if program == "resumed-ctl" else cli.program, program)
        said = capsys.readouterr()
        return said.out + said.err

    return run


def advised(said, options):
    """Return the commands that are advised, each of which must name the instance."""
    written = " ".join(map(shlex.quote, options))
    found = re.findall(rf"'(resumed(?:-ctl)?[^']*?){re.escape(written)}", said)
    plain = re.findall(r"'(resumed(?:-ctl)? (?!--home|-c)[a-z]+)'", said)
    assert not plain
    assert 2 * written not in said.replace(f"{written} {written}", 2 * written)
    return found


@pytest.mark.parametrize(
    "words",
    [
        ("resumed-ctl", "status"),
        ("resumed-ctl", "retry", "nobody.txt"),
        ("resumed-ctl", "jobs", "info", "019a3c5d7e2-1f0c9b77aa"),
        ("resumed-ctl", "jobs", "failures", "nobody.csv"),
        ("resumed-ctl", "why", "inbox-file"),
        ("resumed-ctl", "show", "nobody.txt"),
        ("resumed-ctl", "put", "/etc/hostname"),
    ],
)
def test_advice_names_the_instance(say, options, home, words):
    (home.path / "inbox" / "inbox-file").touch()
    if words[1] == "put":
        (home.path / "inbox" / "inbox-file").unlink()
        (home.path / "inbox").rmdir()

    assert advised(say(*words), options)


@pytest.mark.parametrize("words", [("resumed-ctl", "failures"), ("resumed", "run")])
def test_a_damaged_journal_is_told_with_the_commands_that_help_here(say, options, home, words):
    (home.path / "state" / "journal.jsonl").write_text("no journal\n")

    assert len(advised(say(*words), options)) == 2
