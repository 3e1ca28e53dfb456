import errno
import json
import os
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resumed import durable, request
from resumed.request import Refused, Request


@pytest.fixture
def folder(tmp_path):
    fd = durable.open_folder(tmp_path)
    yield fd
    os.close(fd)


def drop(folder, content, name="x.request"):
    if not isinstance(content, bytes):
        content = json.dumps(content).encode()
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, dir_fd=folder)
    os.write(fd, content)
    os.close(fd)
    return name


def test_a_submitted_request_is_found_and_read(tmp_path, folder):
    name = request.submit(tmp_path, "retry", ids=("a", "b"), fresh=True)
    assert request.names(folder) == [name]
    assert os.listdir(tmp_path) == [name]
    assert request.read(folder, name) == Request(
        name, os.getuid(), "retry", ("a", "b"), everything=False, fresh=True
    )


def test_requests_that_wait_are_told_in_the_order_in_which_they_were_made(tmp_path, folder):
    """While the daemon was down, somebody paused it and thought better of it."""
    names = [f"{number * 7 % 10}.request" for number in range(10)]
    for number, name in enumerate(names):
        drop(folder, {"verb": "pause"}, name)
        os.utime(tmp_path / name, (1000.0 + number, 1000.0 + number))

    assert request.names(folder) == names


def test_everything_can_be_asked_for_at_once(tmp_path, folder):
    name = request.submit(tmp_path, "retry", all=True)
    assert request.read(folder, name).everything


def test_a_folder_may_be_writable_without_being_readable(tmp_path, folder):
    os.chmod(tmp_path, 0o300)
    name = request.submit(tmp_path, "pause")
    os.chmod(tmp_path, 0o700)
    assert request.read(folder, name).verb == "pause"


def test_what_a_killed_asker_left_half_made_is_removed_when_it_is_old(tmp_path, folder):
    for name in (".resumed-old", ".resumed-young", "x.request"):
        drop(folder, b"", name)
    os.utime(tmp_path / ".resumed-young", (1000.0, 1000.0))
    os.utime(tmp_path / ".resumed-old", (939.0, 939.0))
    os.utime(tmp_path / "x.request", (0.0, 0.0))

    request.sweep(folder, 1000.0)

    assert sorted(os.listdir(tmp_path)) == [".resumed-young", "x.request"]


def test_a_start_removes_the_request_that_a_kill_left_half_made(home, drain):
    assert drain().returncode == 0
    left = home.state / "requests" / ".resumed-ece873137b2d9c9b"
    left.write_bytes(b"{")
    os.utime(left, (0, 0))

    assert drain().returncode == 0

    assert not left.exists()


def test_without_a_folder_there_is_nobody_to_ask(tmp_path):
    with pytest.raises(FileNotFoundError):
        request.submit(tmp_path / "missing", "pause")


def test_other_files_in_the_folder_are_no_requests(folder):
    drop(folder, b"", ".resumed-0123")
    assert request.names(folder) == []


def test_a_request_that_is_gone_is_nothing(folder):
    assert request.read(folder, "gone.request") is None


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe\xfd", "not JSON"),
        (b"[" * 60_000, "not JSON"),
        (b"1" * 5000, "not JSON"),
        (b"x" * (request.LIMIT_BYTES + 1), "longer than"),
        ([], "not a JSON object"),
        ({}, "nothing that is known"),
        ({"verb": ["retry"]}, "nothing that is known"),
        ({"verb": "explode"}, "nothing that is known"),
        ({"verb": "retry"}, "names no item"),
        ({"verb": "retry", "all": 1}, "names no item"),
        ({"verb": "retry", "ids": "abc"}, "not a list"),
        ({"verb": "retry", "ids": [1]}, "not a list"),
    ],
)
def test_nonsense_is_refused_with_a_reason(folder, content, why):
    answer = request.read(folder, drop(folder, content))
    assert isinstance(answer, Refused)
    assert why in answer.why
    assert answer.owner == os.getuid()


@given(st.binary(max_size=300))
def test_no_content_does_harm(tmp_path_factory, content):
    place = tmp_path_factory.mktemp("requests")
    fd = durable.open_folder(place)
    try:
        assert request.read(fd, drop(fd, content)) is not None
    finally:
        os.close(fd)


@pytest.mark.parametrize("kind", ["folder", "fifo", "symlink", "socket", "loop"])
def test_no_kind_of_file_is_followed_or_waited_for(tmp_path, folder, kind):
    path = tmp_path / "x.request"
    with socket.socket(socket.AF_UNIX) as listener:
        if kind == "socket":
            listener.bind(f"/proc/self/fd/{folder}/x.request")
        elif kind == "folder":
            path.mkdir()
        elif kind == "fifo":
            os.mkfifo(path)
        else:
            path.symlink_to("/etc/hostname" if kind == "symlink" else "x.request")
        assert isinstance(request.read(folder, "x.request"), Refused)
        # A folder stays: it is not ours to empty.
        assert request.discard(folder, "x.request") == (kind != "folder")


def test_a_request_that_cannot_be_opened_for_our_own_reasons_waits(folder, monkeypatch):
    name = drop(folder, {"verb": "pause"})

    def refuse(*_, **__):
        raise OSError(errno.EMFILE, "planted")

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", refuse)
        assert request.read(folder, name) is None
    assert request.read(folder, name).verb == "pause"


def test_a_request_that_is_closed_to_us_is_refused(folder, monkeypatch):
    name = drop(folder, {"verb": "pause"})

    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "planted")

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", refuse)
        answer = request.read(folder, name)
    assert isinstance(answer, Refused)


def test_a_fault_in_reading_is_an_answer_too(folder, monkeypatch):
    name = drop(folder, {"verb": "pause"})

    def refuse(*_):
        raise OSError(5, "planted")

    monkeypatch.setattr(os, "read", refuse)
    assert isinstance(request.read(folder, name), Refused)


def test_an_answered_request_is_removed_once(folder):
    name = drop(folder, {"verb": "pause"})
    assert request.discard(folder, name)
    assert request.names(folder) == []
    assert request.discard(folder, name)
