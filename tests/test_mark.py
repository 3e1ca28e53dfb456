import os

import pytest

from resumed import mark, orphans
from resumed.mark import Mark


@pytest.fixture
def path(tmp_path):
    return tmp_path / "0"


@pytest.fixture
def marker(path):
    fd = mark.create(path)
    yield mark.Marker(fd)
    os.close(fd)


def test_a_mark_names_the_attempt_its_process_and_its_step(path, marker):
    marker.begin("1-a", 3)
    before = mark.read(path)
    marker.step("search")

    pid, born = os.getpid(), orphans.born(os.getpid())
    assert before == [Mark(1, "1-a", 3, pid, born, None)]
    assert mark.read(path) == [Mark(1, "1-a", 3, pid, born, "search")]


def test_a_shorter_mark_in_the_same_place_is_read_alone(path, marker):
    marker.begin("1-" + "a" * mark.ID_LIMIT_BYTES, 1)
    marker.step("s" * 100)
    for _ in range(2 * mark.AHEAD_LIMIT):
        marker.begin("1-b", 2)

    assert {each.id for each in mark.read(path)} == {"1-b"}


def test_as_many_marks_are_kept_as_can_be_unread(path, marker):
    for number in range(1000):
        marker.begin(f"1-{number}", 1)

    kept = [each.id for each in mark.read(path)]

    assert kept == [f"1-{number}" for number in range(1000 - 2 * mark.AHEAD_LIMIT, 1000)]


def test_a_step_with_a_huge_name_keeps_the_mark_readable(path, marker):
    marker.begin("1-a", 1)
    marker.step("\U0001f600" * 100)

    assert [each.step for each in mark.read(path)] == ["..."]


def test_new_marks_do_not_contain_old_ones(path, marker):
    marker.begin("1-a", 1)

    os.close(mark.create(path))

    assert mark.read(path) == []


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\0" * 9000, b"[1]\n", b'{"id":1}\n', b"[" * 511 + b"\n"]
)
def test_what_is_no_mark_is_passed_over(path, content):
    path.write_bytes(content)

    assert mark.read(path) == []


def test_no_file_has_no_marks(path):
    assert mark.read(path) == []


def test_a_disk_without_room_is_known_before_a_worker_starts(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)

    with pytest.raises(OSError, match="No space"):
        mark.create(tmp_path / "0")
