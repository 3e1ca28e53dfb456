"""Follow the README's steps for Debian, letter by letter, on a machine that has nothing yet."""

import re
import subprocess

import pytest
from conftest import SPOOL, TREE, Service
from machine import Machine, until

pytestmark = [pytest.mark.systemd, pytest.mark.timeout(600)]

PLACE = "/srv/tree"
# A person who edits: takes the # away from the first setting of its name, as the file says.
EDITOR = """#!/bin/sh
sed -i '0,/^#command = .*/s//command = ["true"]/' "$1"
"""


def steps():
    """Return the commands of the first block that installs by apt, without their comments."""
    blocks = re.findall(
        r"(?:^    .*\n|^\n(?=    ))+", (TREE / "README.md").read_text(), re.MULTILINE
    )
    (block, *_) = [block for block in blocks if "apt install" in block]
    lines = [re.sub(r"  +#.*", "", line[4:]).strip() for line in block.splitlines()]
    return [line for line in lines if line]


@pytest.fixture
def machine(suite, tmp_path):
    """Give a machine with the tree, an editor, an account and fresh lists of packages."""
    machine = Machine(f"readme-{suite}", suite)
    machine.destroy()
    machine.boot()
    (tmp_path / "tree").mkdir()
    archive = ["git", "-C", TREE, "archive", "--output", tmp_path / "tree.tar", "HEAD"]
    subprocess.run(archive, check=True)
    subprocess.run(["tar", "-x", "-f", tmp_path / "tree.tar", "-C", tmp_path / "tree"], check=True)
    machine.push(tmp_path / "tree", PLACE)
    machine.write("/usr/local/bin/editor", EDITOR, mode=0o755)
    machine.write(f"{PLACE}/report.pdf", "content\n")
    machine.sh("useradd --create-home alice; apt-get update")
    yield machine
    machine.destroy()


def test_the_readme_installs_it(machine):
    commands = steps()
    assert commands

    for command in commands:
        done = machine.run("bash", "-c", f"cd {PLACE} && {command}", check=False)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"

    until(machine.inside(f"{SPOOL}/done/report.pdf").exists, "the report is done")
    assert Service(machine).active()
