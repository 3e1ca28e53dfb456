"""Follow the README's steps for Debian, letter by letter, on a machine that has nothing yet."""

import re

import pytest
from conftest import SPOOL, TREE, Service
from machine import Machine, until

pytestmark = [pytest.mark.systemd, pytest.mark.timeout(300)]

# A person who edits: takes the # away from a setting, as the file says.
EDITOR = """#!/bin/sh
sed -i 's/^#command = .*/command = ["true"]/' "$1"
"""


def steps():
    """Return the commands of the first block that installs by apt, without their comments."""
    blocks = re.findall(
        r"(?:^    .*\n|^\n(?=    ))+", (TREE / "README.md").read_text(), re.MULTILINE
    )
    (block, *_) = [block for block in blocks if "apt install" in block]
    lines = [re.sub(r"  +#.*", "", line[4:]).strip() for line in block.splitlines()]
    return [line for line in lines if line]


def test_the_readme_installs_it(suite, package):
    machine = Machine(f"readme-{suite}", suite)
    machine.destroy()
    machine.boot()
    try:
        machine.write("/usr/local/bin/editor", EDITOR, mode=0o755)
        machine.run("mkdir", "-p", "/srv/tree/dist")
        machine.push(package, f"/srv/tree/dist/{package.name}")
        machine.sh("useradd --create-home alice; cd /srv/tree; echo content >report.pdf")
        commands = steps()
        assert commands

        for command in commands:
            if "build-deb" in command:
                continue  # the package was built on the host, by that command
            done = machine.run("bash", "-c", f"cd /srv/tree && {command}", check=False)
            assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"

        until(machine.inside(f"{SPOOL}/done/report.pdf").exists, "the report is done")
        assert Service(machine).active()
    finally:
        machine.destroy()
