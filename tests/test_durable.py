import errno
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resumed import durable
from resumed.errors import LockedError, StorageError


@pytest.fixture
def folder(tmp_path):
    fd = durable.open_folder(tmp_path)
    yield fd
    os.close(fd)


@pytest.fixture
def other(tmp_path):
    (tmp_path / "other").mkdir()
    fd = durable.open_folder(tmp_path / "other")
    yield fd
    os.close(fd)


def read(folder_fd, name):
    with open(os.open(name, os.O_RDONLY, dir_fd=folder_fd), "rb") as file:
        return file.read()


def put(folder_fd, name, content=b"x"):
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, dir_fd=folder_fd)
    os.write(fd, content)
    os.close(fd)


def pretend_errno(monkeypatch, number):
    """Let renameat2 fail as a file system that cannot do it does."""

    class Libc:
        def renameat2(self, *_):
            import ctypes

            ctypes.set_errno(number)
            return -1

        def syncfs(self, *_):
            import ctypes

            ctypes.set_errno(number)
            return -1

    monkeypatch.setattr(durable, "_libc", Libc)


# writing


def test_every_byte_is_written_even_when_the_pipe_takes_them_piecemeal():
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, True)
    content = os.urandom(300_000)

    with subprocess.Popen(
        [sys.executable, "-c", "import sys;sys.stdout.buffer.write(sys.stdin.buffer.read())"],
        stdin=read_end,
        stdout=subprocess.PIPE,
    ) as reader:
        os.close(read_end)
        durable.write_all(write_end, content)
        os.close(write_end)
        received, _ = reader.communicate()

    assert received == content


def test_a_refused_write_is_a_storage_error_with_its_place():
    fd = os.open("/dev/full", os.O_WRONLY)

    with pytest.raises(StorageError) as caught:
        durable.write_all(fd, b"content")

    assert caught.value.place == "/dev/full"
    assert caught.value.errno == errno.ENOSPC
    os.close(fd)


@pytest.mark.parametrize("sync", [durable.sync, durable.sync_folder])
def test_a_refused_sync_is_a_storage_error(sync):
    read_end, write_end = os.pipe()

    with pytest.raises(StorageError):
        sync(write_end)

    os.close(read_end)
    os.close(write_end)


def test_a_whole_file_system_can_be_synced(folder):
    durable.sync_filesystem(folder)


def test_a_refused_sync_of_a_file_system_is_a_storage_error():
    with pytest.raises(StorageError, match="descriptor -1"):
        durable.sync_filesystem(-1)


# moving


def test_a_move_takes_the_file_along(folder, other):
    put(folder, "a", b"content")

    durable.move(folder, "a", other, "b")

    assert read(other, "b") == b"content"
    assert os.listdir(folder) == ["other"]


@pytest.mark.parametrize("number", [None, errno.EINVAL, errno.ENOSYS])
def test_a_move_never_replaces(folder, other, monkeypatch, number):
    put(folder, "a", b"mine")
    put(other, "b", b"theirs")
    if number:
        pretend_errno(monkeypatch, number)

    with pytest.raises(FileExistsError):
        durable.move(folder, "a", other, "b")

    assert (read(folder, "a"), read(other, "b")) == (b"mine", b"theirs")


def test_a_move_between_two_links_of_one_file_is_refused_not_ignored(folder, other):
    put(folder, "a")
    os.link("a", "b", src_dir_fd=folder, dst_dir_fd=other)

    with pytest.raises(FileExistsError):
        durable.move(folder, "a", other, "b")


def test_without_renameat2_a_link_and_an_unlink_do_the_same(folder, other, monkeypatch):
    put(folder, "a", b"content")
    pretend_errno(monkeypatch, errno.EINVAL)

    durable.move(folder, "a", other, "b")

    assert read(other, "b") == b"content"
    assert os.listdir(folder) == ["other"]


def test_without_renameat2_a_half_done_move_is_finished(folder, other, monkeypatch):
    put(folder, "a", b"content")
    os.link("a", "b", src_dir_fd=folder, dst_dir_fd=other)
    pretend_errno(monkeypatch, errno.EINVAL)

    durable.move(folder, "a", other, "b")

    assert os.listdir(folder) == ["other"]
    assert read(other, "b") == b"content"


def test_a_missing_file_is_the_files_fault_not_the_disks(folder, other):
    with pytest.raises(FileNotFoundError):
        durable.move(folder, "nothing", other, "b")


def test_a_move_to_another_file_system_is_the_files_fault(folder):
    put(folder, "a")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as elsewhere:
        fd = durable.open_folder(elsewhere)

        with pytest.raises(OSError, match="cross-device"):
            durable.move(folder, "a", fd, "a")

        os.close(fd)


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EROFS])
def test_a_move_that_the_disk_refuses_is_a_storage_error(folder, monkeypatch, number):
    put(folder, "a")
    pretend_errno(monkeypatch, number)

    with pytest.raises(StorageError) as caught:
        durable.move(folder, "a", folder, "b")

    assert caught.value.errno == number
    assert caught.value.place.endswith("/a")


def test_a_folder_is_moved_beside_itself(folder, tmp_path):
    (tmp_path / "old").mkdir()

    durable.move_folder(folder, "old", "new")

    assert os.listdir(folder) == ["new"]


def test_a_folder_does_not_replace_one_that_has_files(folder, tmp_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()

    with pytest.raises(OSError, match="not empty"):
        durable.move_folder(folder, "old", "full")

    assert (tmp_path / "full" / "file").exists()


def test_a_missing_folder_is_not_the_disks_fault(folder):
    with pytest.raises(FileNotFoundError):
        durable.move_folder(folder, "nothing", "new")


# spare names


def test_a_taken_name_makes_room_beside_it_as_often_as_needed(folder, other):
    used = []
    for content in (b"1", b"2", b"3", b"4"):
        put(folder, "a.jpg", content)
        used.append(durable.move_free(folder, "a.jpg", other, "a.jpg", "id"))

    assert used == ["a.jpg", "a~id.jpg", "a~id-2.jpg", "a~id-3.jpg"]
    assert [read(other, name) for name in used] == [b"1", b"2", b"3", b"4"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("scan.pdf", "scan~7.pdf"),
        ("scan", "scan~7"),
        (".hidden", ".hidden~7"),
        ("scan.", "scan~7."),
        ("a.tar.gz", "a.tar~7.gz"),
        ("a." + "e" * 40, "a." + "e" * 40 + "~7"),
        ("x" * 251 + ".pdf", "x" * 249 + "~7.pdf"),
        ("é" * 126 + ".t", "é" * 125 + "~7.t"),
    ],
)
def test_a_spare_name_keeps_the_extension(name, expected):
    assert durable.spare_name(name, "7") == expected


@given(
    st.binary(min_size=1, max_size=255).filter(lambda name: b"/" not in name and b"\0" not in name)
)
def test_a_spare_name_fits_whatever_bytes_the_name_has(name):
    spare = durable.spare_name(os.fsdecode(name), "019a3c5d7e2-0123456789")

    assert len(os.fsencode(spare)) <= 255
    assert "~019a3c5d7e2-0123456789" in spare


@given(st.text(alphabet="aé日😀", max_size=80), st.integers(min_value=0, max_value=100))
def test_trimming_never_halves_a_character(name, limit):
    trimmed = durable.trim(name, limit)

    assert len(trimmed.encode()) <= limit
    assert name.startswith(trimmed)
    assert len(trimmed.encode()) > limit - 4 or trimmed == name


# placing


def test_a_placed_file_is_whole_and_alone(folder, tmp_path):
    durable.place(folder, "a.txt", b"content", mode=0o600)

    assert (tmp_path / "a.txt").read_bytes() == b"content"
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o600
    assert os.listdir(folder) == ["a.txt"]


def test_placing_on_a_taken_name_changes_nothing(folder, tmp_path):
    put(folder, "a.txt", b"theirs")

    with pytest.raises(FileExistsError):
        durable.place(folder, "a.txt", b"ours")

    assert (tmp_path / "a.txt").read_bytes() == b"theirs"
    assert os.listdir(folder) == ["a.txt"]


def test_replacing_leaves_the_new_content_only(folder, tmp_path):
    for content in (b"the first one", b"second"):
        durable.replace(folder, "state.json", content)

    assert (tmp_path / "state.json").read_bytes() == b"second"
    assert os.listdir(folder) == ["state.json"]


def test_replacing_does_not_write_through_a_symlink(folder, tmp_path):
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / ".state.new").symlink_to("secret")

    with pytest.raises(StorageError):
        durable.replace(folder, "state", b"ours")

    assert (tmp_path / "secret").read_bytes() == b"secret"


def test_replacing_a_folder_is_refused(folder, tmp_path):
    (tmp_path / "state").mkdir()

    with pytest.raises(StorageError):
        durable.replace(folder, "state", b"ours")


def test_a_write_that_fails_halfway_leaves_nothing_behind(folder, monkeypatch):
    def refuse(_):
        raise StorageError("here", OSError(errno.EIO, "input/output error"))

    monkeypatch.setattr(durable, "sync", refuse)

    with pytest.raises(StorageError):
        durable.place(folder, "a.txt", b"content")

    assert os.listdir(folder) == []


def test_a_temporary_file_that_a_person_takes_away_is_made_again(folder, tmp_path, monkeypatch):
    real, taken = durable.move, []

    def tidy(source_fd, source, *target):
        if not taken:
            taken.append((tmp_path / source).rename(tmp_path / "tidied"))
        real(source_fd, source, *target)

    monkeypatch.setattr(durable, "move", tidy)

    durable.place(folder, "a.txt", b"content")

    assert (tmp_path / "a.txt").read_bytes() == b"content"
    assert sorted(os.listdir(folder)) == ["a.txt", "tidied"]


def test_placing_into_a_folder_that_is_gone_is_a_storage_error(tmp_path):
    (tmp_path / "gone").mkdir()
    fd = durable.open_folder(tmp_path / "gone")
    (tmp_path / "gone").rmdir()

    with pytest.raises(StorageError):
        durable.place(fd, "a.txt", b"content")

    os.close(fd)


def test_a_dropped_file_is_whole_and_takes_no_name(folder, tmp_path):
    durable.drop(folder, "a.txt", [b"con", b"tent"])

    with pytest.raises(FileExistsError):
        durable.drop(folder, "a.txt", [b"other"])
    assert (tmp_path / "a.txt").read_bytes() == b"content"
    assert os.listdir(folder) == ["a.txt"]


def test_a_file_is_superseded_and_kept_as_the_previous_one(folder, tmp_path):
    for content in (b"1", b"2", b"3"):
        durable.write_whole(folder, "fresh", content)
        if content == b"1":
            os.rename("fresh", "state", src_dir_fd=folder, dst_dir_fd=folder)
        else:
            durable.supersede(folder, "fresh", "state", "previous")

    assert (tmp_path / "state").read_bytes() == b"3"
    assert (tmp_path / "previous").read_bytes() == b"2"


def test_nothing_supersedes_what_is_not_there(folder):
    durable.write_whole(folder, "fresh", b"1")

    with pytest.raises(StorageError):
        durable.supersede(folder, "fresh", "state", "previous")


def test_a_file_of_ours_is_opened_unless_it_is_a_symlink(folder, tmp_path):
    (tmp_path / "link").symlink_to("/etc/hostname")

    os.close(durable.open_file(folder, "lock", os.O_RDWR | os.O_CREAT))

    with pytest.raises(StorageError):
        durable.open_file(folder, "link", os.O_RDONLY)


# locks and folders


def test_a_lock_is_held_once(tmp_path):
    first, second = (os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT) for _ in range(2))
    durable.lock(first)

    with pytest.raises(LockedError, match="lock: another instance"):
        durable.lock(second)

    os.close(first)
    durable.lock(second)
    os.close(second)


def test_a_lock_that_cannot_be_taken_at_all_is_a_storage_error(tmp_path):
    path_only = os.open(tmp_path, os.O_PATH)

    with pytest.raises(StorageError):
        durable.lock(path_only)

    os.close(path_only)


def test_a_symlink_is_not_opened_as_a_folder(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")

    with pytest.raises(NotADirectoryError):
        durable.open_folder(tmp_path / "link")


def test_an_opened_folder_is_not_inherited(folder):
    assert fcntl.fcntl(folder, fcntl.F_GETFD) & fcntl.FD_CLOEXEC


def test_a_descriptor_knows_its_path(folder, tmp_path):
    assert durable.path_of(folder) == os.path.realpath(tmp_path)


PLACE = """
import sys
from resumed import durable
fd = durable.open_folder(sys.argv[1])
durable.place(fd, "file", b"content")
"""


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_a_placed_file_is_synced_before_it_is_named_and_its_name_after(tmp_path):
    trace = tmp_path / "trace"
    (tmp_path / "folder").mkdir()
    calls = "trace=openat,write,fdatasync,fsync,renameat2"

    subprocess.run(
        ["strace", "-e", calls, "-o", trace, sys.executable, "-c", PLACE, tmp_path / "folder"],
        check=True,
        cwd=Path(__file__).parent.parent,
    )

    lines = trace.read_text().splitlines()
    start = next(at for at, line in enumerate(lines) if durable.TEMPORARY_PREFIX in line)
    made = [line.partition("(")[0] for line in lines[start:] if "O_RDONLY" not in line]
    assert made[:5] == ["openat", "write", "fdatasync", "renameat2", "fsync"]
