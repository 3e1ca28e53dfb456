"""Run the service from a wheel in a virtual environment, with the same units."""

import shutil
import subprocess
import sys

import pytest
from conftest import MEMBERS, TREE, Service
from machine import Machine

pytestmark = [pytest.mark.systemd, pytest.mark.timeout(300)]


@pytest.fixture
def bare(suite):
    """Give a machine without the package."""
    machine = Machine(f"bare-{suite}", suite)
    machine.destroy()
    machine.boot()
    yield Service(machine)
    machine.destroy()


@pytest.fixture
def wheel(tmp_path):
    tree = tmp_path / "tree"
    shutil.copytree(TREE, tree, ignore=shutil.ignore_patterns(".*", "build", "demo", "*.egg-info"))
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", tmp_path, tree]
    subprocess.run(build, check=True)
    (file,) = tmp_path.glob("*.whl")
    return file


def test_a_wheel_becomes_the_same_service(bare, wheel):
    bare.machine.push(wheel, f"/srv/{wheel.name}")
    # the libraries are the system's, so that this needs no network
    bare.sh(
        f"""
        python3 -m venv --system-site-packages /opt/resumed
        /opt/resumed/bin/pip install --quiet --no-index --no-deps /srv/{wheel.name}
        /opt/resumed/share/resumed/systemd/install.sh
        useradd --create-home --groups resumed {MEMBERS[0]}
        """
    )
    assert bare.run("systemctl", "start", "resumed").returncode == 0
    assert bare.show("Result") == "exec-condition"

    bare.configure()
    bare.run("/opt/resumed/bin/resumed", "check", user="resumed")
    bare.start()
    bare.drop("a")
    bare.await_end("a")

    bare.run("systemctl", "reload", "resumed")
    bare.run("systemd-analyze", "security", "--threshold=16", "resumed.service")
    assert "resumed" not in bare.sh("systemd-analyze verify --man=no resumed.service 2>&1").stdout
    assert bare.names("done") == ["a"]
    bare.sh("/opt/resumed/share/resumed/systemd/install.sh --remove")
    assert not bare.active()
