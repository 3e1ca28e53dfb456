import os

import pytest

from resumed.scratch import Scratch, Spare


@pytest.fixture
def spare():
    return Spare()


def test_nothing_is_made_before_it_is_asked_for(tmp_path, spare):
    scratch = Scratch(tmp_path / "1.work", spare)

    assert not scratch.leave()
    assert os.listdir(tmp_path) == []


def test_only_its_owner_can_look_into_it(tmp_path, spare):
    folder = Scratch(tmp_path / "job/1.work", spare).folder("work")

    assert folder.stat().st_mode & 0o777 == 0o700
    assert folder.parent.stat().st_mode & 0o777 == 0o700


def test_an_empty_one_is_used_for_the_next_item(tmp_path, spare):
    first = Scratch(tmp_path / "1.work", spare)
    inode = first.folder("work").stat().st_ino
    assert not first.leave()
    assert not (tmp_path / "1.work").exists()

    second = Scratch(tmp_path / "2.work", spare)

    assert second.folder("work").stat().st_ino == inode
    assert os.listdir(tmp_path) == ["2.work"]


@pytest.mark.parametrize("folder", ["work", "out"])
def test_one_with_something_in_it_stays_for_the_outcome(tmp_path, spare, folder):
    scratch = Scratch(tmp_path / "1.work", spare)
    (scratch.folder(folder) / "x").touch()

    assert scratch.leave()
    assert (tmp_path / "1.work" / folder / "x").exists()


def test_what_an_earlier_attempt_left_is_found_again(tmp_path, spare):
    scratch = Scratch(tmp_path / "1.work", spare)
    (scratch.folder("work") / "x").touch()
    scratch.leave()

    again = Scratch(tmp_path / "1.work", Spare())

    assert (again.folder("work") / "x").exists()


def test_a_spare_that_somebody_removed_is_made_anew(tmp_path, spare):
    Scratch(tmp_path / "1.work", spare).folder("work")
    Scratch(tmp_path / "1.work", spare).leave()
    for folder, _, _ in os.walk(tmp_path, topdown=False):
        if folder != str(tmp_path):
            os.rmdir(folder)

    assert Scratch(tmp_path / "2.work", spare).folder("out").is_dir()


def test_a_spare_is_not_taken_to_another_folder(tmp_path, spare):
    (tmp_path / "other").mkdir()
    first = Scratch(tmp_path / "1.work", spare)
    first.folder("work")
    first.leave()

    assert Scratch(tmp_path / "other/2.work", spare).folder("work").is_dir()
    assert len(os.listdir(tmp_path)) == 2
