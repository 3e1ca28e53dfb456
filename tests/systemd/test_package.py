"""Look at the package as Debian's own tools do, before anything is installed."""

import re
import shutil
import subprocess

import pytest
from conftest import TREE

pytestmark = [pytest.mark.systemd, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def unpacked(package, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unpacked")
    subprocess.run(["dpkg-deb", "--extract", package, folder], check=True)
    return folder


def test_its_version_is_the_programs(package):
    version = subprocess.run(
        ["dpkg-deb", "--field", package, "Version"], check=True, capture_output=True, text=True
    ).stdout.strip()

    said = (TREE / "resumed/__init__.py").read_text()
    assert f'__version__ = "{version}"' in said


@pytest.mark.skipif(not shutil.which("lintian"), reason="needs lintian")
def test_lintian_has_nothing_to_say(package):
    done = subprocess.run(
        ["lintian", "--allow-root", "--fail-on", "warning,error", "--pedantic", package],
        check=False, capture_output=True, text=True,
    )  # fmt: skip

    assert done.stdout == ""
    assert done.returncode == 0


@pytest.mark.skipif(not shutil.which("mandoc"), reason="needs mandoc")
@pytest.mark.parametrize("page", ["man1/resumed.1", "man1/resumed-ctl.1", "man5/resumed.toml.5"])
def test_a_manual_page_is_sound(unpacked, page):
    packed = unpacked / f"usr/share/man/{page}.gz"
    text = subprocess.run(["zcat", packed], check=True, capture_output=True).stdout

    said = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "warning"], input=text, capture_output=True, check=False
    )

    assert said.stdout == b""


def test_each_command_and_setting_has_its_place_in_the_manual(unpacked):
    from resumed import cli, ctl, reference

    def page(name):
        packed = unpacked / f"usr/share/man/{name}.gz"
        text = subprocess.run(["zcat", packed], check=True, capture_output=True, text=True).stdout
        return text.replace("\\-", "-")

    for name, group in (("man1/resumed.1", cli.program), ("man1/resumed-ctl.1", ctl.program)):
        for command in group.commands:
            assert re.search(rf"^\.Ss {command}\b", page(name), re.MULTILINE)
    for setting in reference.REFERENCE:
        assert f".It Sy {setting.name}" in page("man5/resumed.toml.5")


def test_the_shipped_configuration_sets_nothing(unpacked):
    text = (unpacked / "etc/resumed/resumed.toml").read_text()

    assert not [line for line in text.splitlines() if line and line[0] not in "#["]
    assert "#handler = " in text


def test_the_build_leaves_nothing_in_the_tree():
    said = subprocess.run(
        ["git", "-C", TREE, "status", "--porcelain", "packaging", "systemd", "debian"],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip

    assert "debian/" not in said.replace("packaging/debian/", "")
