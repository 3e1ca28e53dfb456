"""Let a person change what failed or is held, where it lies, and take it up again."""

import shutil

import pytest

SETTINGS = 'handler = "handler:process"\nsettle = 0\n[retry]\ninitial = "1h"\n'
HANDLER = """
from resumed import TransientError

def process(item):
    if "later" in item.path.read_text():
        raise TransientError("not today")
    item.step("read", item.path.read_text)
    if "bad" in item.path.read_text():
        raise ValueError("of no use")
"""


@pytest.fixture
def failed(home, drain):
    """Let a file fail and return where it lies."""
    home.configure(SETTINGS, handler=HANDLER)
    (home.inbox / "a.txt").write_text("bad")
    assert drain().returncode == 1
    return home.failed / "a.txt"


def test_a_failed_file_that_was_mended_where_it_lies_is_tried_again(home, failed, drain, ctl):
    failed.write_text("good")

    ctl("retry", "a.txt")

    assert drain().returncode == 0
    assert (home.done / "a.txt").read_text() == "good"
    assert not list(home.failed.iterdir())
    assert [each["result"] for each in home.records("stepped")] == ["bad", "good"]
    ctl("audit")


def test_one_that_an_editor_replaced_is_tried_again(home, failed, drain):
    (home.failed / "a.txt~").write_text("good")
    (home.failed / "a.txt~").rename(failed)

    assert drain("--retry-failures").returncode == 0

    assert (home.done / "a.txt").read_text() == "good"
    assert not home.records("gone")


@pytest.mark.usefixtures("failed")
def test_a_home_that_was_restored_from_a_copy_loses_no_failed_item(home, drain, ctl):
    copy = home.path.with_name("copy")
    shutil.copytree(home.path, copy, copy_function=shutil.copy2)
    shutil.rmtree(home.path)
    copy.rename(home.path)

    ctl("retry", "a.txt")

    assert drain().returncode == 1
    assert [each["attempt"] for each in home.records("failed")] == [1, 2]
    assert "a.txt" in ctl("failures").stdout
    ctl("audit")


def test_one_that_is_retried_on_its_way_through_the_inbox_leaves_no_note(home, failed, drain, ctl):
    ctl("pause")
    failed.rename(home.inbox / "a.txt")

    ctl("retry", "a.txt")

    assert drain().returncode == 1
    assert [each["attempt"] for each in home.records("failed")] == [1, 2]
    (home.failed / "a.txt").rename(home.inbox / "a.txt")
    (home.path / "handler.py").write_text("def process(item):\n    pass\n")
    ctl("retry", "a.txt")
    drain()
    assert home.names("done") == ["a.txt"]
    assert not list(home.failed.iterdir())
    ctl("audit")


def test_a_held_file_that_was_changed_is_released_as_it_is_now(home, drain, ctl):
    home.configure(SETTINGS, handler=HANDLER)
    (home.inbox / "a.txt").write_text("later")
    drain()
    ctl("hold", "a.txt")
    drain()
    (home.hold / "a.txt").write_text("good")

    ctl("release", "a.txt")

    assert drain("--wait").returncode == 0
    assert (home.done / "a.txt").read_text() == "good"


def test_the_file_of_another_item_is_not_taken_for_a_changed_one(home, failed, drain):
    failed.unlink()
    failed.with_name("a.txt.failure.txt").unlink()
    (home.inbox / "a.txt").write_text("bad too")
    assert drain().returncode == 1
    ids = [each["id"] for each in home.records("claimed")]

    drain("--retry-failures")

    assert [each["id"] for each in home.records("started")].count(ids[0]) <= 1
    assert [each["attempt"] for each in home.records("failed") if each["id"] == ids[1]] == [1, 2]
    assert failed.read_text() == "bad too"


def test_a_held_item_of_the_name_is_no_reason_to_lose_a_changed_one(home, failed, drain, ctl):
    (home.inbox / "a.txt").write_text("later")
    drain()
    ctl("hold", "a.txt")
    drain()
    assert (home.hold / "a.txt").exists()
    failed.write_text("good")

    drain("--retry-failures")

    assert (home.done / "a.txt").read_text() == "good"
    assert (home.hold / "a.txt").read_text() == "later"
