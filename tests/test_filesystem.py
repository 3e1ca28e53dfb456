from pathlib import Path

import pytest

from resumed import filesystem


def test_two_folders_on_two_devices_are_not_covered_by_one_sync(tmp_path):
    assert not filesystem.covers(tmp_path, Path("/proc"))


def test_one_that_is_not_known_to_tell_of_its_errors_is_not_trusted():
    assert not filesystem.covers(Path("/proc"), Path("/proc"))


@pytest.mark.parametrize(
    ("release", "number"),
    [("5.4.0-42-generic", (5, 4)), ("6.18", (6, 18)), ("6.1.0-18-amd64", (6, 1)), ("6.x", (6,))],
)
def test_a_release_is_read_as_far_as_it_consists_of_numbers(release, number):
    assert filesystem._release(release) == number


def test_the_kind_of_a_file_system_is_what_the_mounts_say(tmp_path):
    device = tmp_path.stat().st_dev
    kinds = [
        line.partition(" - ")[2].split()[0]
        for line in Path("/proc/self/mountinfo").read_text().splitlines()
        if line.split()[2] == f"{device >> 8}:{device & 0xFF}"
    ]

    trusted = kinds and kinds[0] in ("ext2", "ext3", "ext4", "xfs")

    assert filesystem.covers(tmp_path, tmp_path) == bool(trusted)
