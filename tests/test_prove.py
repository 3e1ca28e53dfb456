import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from resumed import durable
from resumed.errors import StorageError
from resumed.prove import prove
from resumed.settings import Paths
from resumed.spool import Spool

FOLDERS = ("inbox", "active", "hold", "done", "failed", "out")


@pytest.fixture
def root(public_path):
    for folder in FOLDERS:
        (public_path / folder).mkdir(mode=0o700)
    return public_path


@pytest.fixture
def paths(root):
    return Paths.below(root, root / "state")


def tree(root):
    return [path for folder in FOLDERS for path in (root / folder).rglob("*")]


def test_folders_that_work_have_no_problems_and_no_traces(root, paths):
    spool = Spool(paths)

    assert prove(paths) == []
    assert spool.prove() == []
    spool.close()
    assert tree(root) == []


def test_all_problems_are_told_at_once_with_a_remedy(root, paths):
    (root / "hold").rmdir()
    (root / "done").rmdir()
    (root / "done").symlink_to("failed")
    (root / "failed").rmdir()
    (root / "failed").touch()
    (root / "active").chmod(0o755)

    problems = prove(paths)

    assert [problem.split("; ")[0].removeprefix(f"{root}/") for problem in problems] == [
        "hold: there is no such folder",
        "done: is a symlink",
        "failed: is no folder",
        "active: is open to others",
    ]
    assert all("; " in problem for problem in problems)


def test_without_active_nothing_can_be_tried(root, paths):
    (root / "active").rmdir()

    assert [problem.split(":")[0] for problem in prove(paths)] == [str(root / "active")]


def test_an_inbox_on_another_file_system_is_told(root, paths):
    with tempfile.TemporaryDirectory(dir="/dev/shm") as elsewhere:
        (problem,) = prove(replace(paths, inbox=Path(elsewhere)))

        assert "another file system" in problem
        assert os.listdir(elsewhere) == []
    assert tree(root) == []


UNPRIVILEGED = """
import os, sys
sys.path.insert(0, {package!r})
from pathlib import Path
from resumed.prove import prove
from resumed.settings import Paths
root = Path(sys.argv[1])
os.setgroups([]); os.setgid(65534); os.setuid({uid})
for problem in prove(Paths.below(root, root / "state")):
    print(problem.removeprefix(f"{{root}}/"))
"""


def prove_as(root, uid=65534):
    script = UNPRIVILEGED.format(package=str(Path(__file__).parent.parent), uid=uid)
    ended = subprocess.run(
        [sys.executable, "-c", script, root], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()


STICKY = "is sticky and not nobody's, so files of others cannot be taken out"

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become nobody")


@needs_root
def test_permissions_are_proved_by_trying(root):
    for folder in FOLDERS:
        os.chown(root / folder, 65534, 65534)
    os.chown(root / "inbox", 0, 0)
    (root / "inbox").chmod(0o1777)
    os.chown(root / "done", 0, 0)
    (root / "done").chmod(0o555)
    os.chown(root / "failed", 0, 0)

    assert prove_as(root) == [
        "failed: cannot be opened: permission denied; let nobody read and write it",
        f"inbox: {STICKY}; run 'chown nobody {root}/inbox'",
        "done: a file cannot be moved there and back: permission denied; let nobody write to it",
    ]


@needs_root
def test_an_active_folder_that_takes_no_file_is_told(root):
    for folder in FOLDERS:
        os.chown(root / folder, 12345, 65534)
    (root / "active").chmod(0o500)

    assert prove_as(root, uid=12345) == [
        "active: cannot be written to: permission denied; let user 12345 write to it"
    ]


def test_a_user_without_a_name_is_named_by_number(root, paths, monkeypatch):
    (root / "inbox").chmod(0o1777)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)

    assert [problem for problem in prove(paths) if "chown user 12345" in problem]


@pytest.mark.parametrize("refusal", [PermissionError(13, "x"), StorageError("x", OSError(30, "x"))])
def test_a_move_that_is_refused_is_told_with_the_reason(paths, monkeypatch, refusal):
    def refuse(*_):
        raise refusal

    monkeypatch.setattr(durable, "move", refuse)

    problems = prove(paths)

    assert len(problems) == 5
    assert all(os.strerror(refusal.errno).lower() in problem for problem in problems)


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (13, "permission denied; let root write to it"),
        (28, "no space left on device; make room there"),
        (30, "read-only file system; mount it for writing"),
    ],
)
def test_a_file_that_cannot_be_made_is_told(paths, monkeypatch, number, told):
    real = os.open

    def refuse(path, flags, *args, **kwargs):
        if flags & os.O_CREAT:
            raise OSError(number, "x")
        return real(path, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", refuse)

    (problem,) = prove(paths)

    assert f"active: cannot be written to: {told}" in problem


def test_a_folder_that_is_closed_to_us_is_told(paths, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "x")

    monkeypatch.setattr(durable, "open_folder", refuse)

    problems = prove(paths)

    assert len(problems) == 6
    assert all("cannot be opened: permission denied" in problem for problem in problems)
