import os
import subprocess
import sys
from pathlib import Path

import pytest

from resumed import litter

SCRIPT = """
import os, sys
sys.path.insert(0, {package!r})
import shutil
from resumed import litter, shelf
if not os.geteuid():
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
fd = os.open(sys.argv[1], os.O_RDONLY)
made = os.path.join(sys.argv[1], "made")
os.makedirs(os.path.join(made, "closed/inner"))
for name in ("file", "closed/file", "closed/inner/file"):
    open(os.path.join(made, name), "w").close()
os.symlink(sys.argv[2], os.path.join(made, "closed/link"))
for name, mode in (("closed/inner", 0), ("closed", 0o500), ("", 0o555)):
    os.chmod(os.path.join(made, name), mode)
{what}
"""


@pytest.fixture
def somebody(public_path):
    """Let somebody without rights make a folder of closed ones, and do something with it."""
    folder, other = public_path / "folder", public_path / "other"
    for each in (folder, other):
        each.mkdir(0o777)
        each.chmod(0o777)
    other.chmod(0o555)

    def do(what):
        script = SCRIPT.format(package=str(Path(__file__).parent.parent), what=what)
        subprocess.run([sys.executable, "-c", script, folder, other], check=True)
        return sorted(str(each.relative_to(folder)) for each in folder.rglob("*"))

    yield do
    assert other.stat().st_mode & 0o777 == 0o555


def test_folders_that_are_closed_even_to_their_owner_are_removed(somebody):
    assert somebody("litter.remove(fd, 'made')") == []


MOVE = """
other = os.path.join(sys.argv[1], "shelf")
os.mkdir(other)
assert shelf.take(fd, "made", os.open(other, os.O_RDONLY), "spare") == "made"
print(oct(os.stat(os.path.join(other, "made")).st_mode & 0o777))
litter.remove(fd, "shelf")
"""


def test_a_folder_that_its_handler_closed_is_put_away_all_the_same(somebody, capfd):
    assert somebody(MOVE) == []
    assert capfd.readouterr().out == "0o755\n"


def test_only_a_folder_is_opened(tmp_path):
    (tmp_path / "file").touch(0o400)
    (tmp_path / "folder").mkdir(0o500)
    (tmp_path / "link").symlink_to("folder")
    fd = os.open(tmp_path, os.O_RDONLY)

    opened = [name for name in ("file", "folder", "link", "nothing") if litter.open_up(fd, name)]

    os.close(fd)
    assert opened == ["folder"]
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o400
