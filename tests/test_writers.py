import os
import subprocess
import sys

import pytest

from resumed import writers


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("text")
    return path


@pytest.mark.parametrize(("mode", "found"), [("a", True), ("r+", True), ("r", False)])
def test_only_who_may_write_is_found(file, mode, found):
    code = f"import sys; f = open(sys.argv[1], {mode!r}); print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, file], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        other.stdout.readline()
        who = writers.of_file(file)
        other.kill()

    assert [each.pid for each in who] == ([other.pid] if found else [])
    assert all(str(each).startswith(f"process {other.pid} (") for each in who)


def test_our_own_descriptors_are_no_writers(file):
    with file.open("a"):
        assert writers.of_file(file) == []
    assert writers.of_file(file.parent / "missing") == []


@pytest.mark.parametrize(
    ("mode", "readable"),
    [(0o400, "owner"), (0o040, "group"), (0o004, "other"), (0o000, ""), (0o044, "group other")],
)
@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_mode_says_who_may_read(file, mode, readable):
    os.chown(file, 54321, 1)  # group 1 is that of user 1, daemon, wherever both are known
    file.chmod(mode)
    status = file.stat()

    assert writers.may_read(0, status)
    assert writers.may_read(54321, status) == ("owner" in readable)
    assert writers.may_read(54322, status) == ("other" in readable)
    assert writers.may_read(1, status) == ("group" in readable)


def test_users_are_called_by_name_where_they_have_one():
    assert writers.user_of(0) == "user root"
    assert writers.user_of(54321) == "user 54321"
    assert writers.user_of(None) == "the daemon's user"
