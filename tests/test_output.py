import os

import pytest

from resumed import durable, output
from resumed.errors import PermanentError
from resumed.output import Outputs, sync_tree
from resumed.scratch import Scratch, Spare


@pytest.fixture
def out(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


@pytest.fixture
def outputs(tmp_path, out):
    return Outputs(Scratch(tmp_path / "1-a.work", Spare()), out, "1-a")


def make(outputs, name, text):
    outputs.path(name).write_text(text)
    outputs.publish([name])


def contents(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_an_output_appears_whole_when_published(outputs, out):
    outputs.path("a.jpg").write_text("new")
    assert contents(out) == {}

    outputs.publish(["a.jpg"])

    assert contents(out) == {"a.jpg": "new"}
    assert outputs.written() == []


def test_a_power_cut_cannot_leave_an_output_without_its_second_name(outputs, tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr(durable, "sync_folder", lambda fd: done.append(durable.path_of(fd)))
    real = durable.move_free

    def move_free(*words):
        done.append("move")
        return real(*words)

    monkeypatch.setattr(durable, "move_free", move_free)

    make(outputs, "a.jpg", "new")

    scratch = tmp_path / "1-a.work"
    before = done[: done.index("move")]
    assert before == [str(scratch), str(tmp_path), str(scratch / "published")]
    assert done[len(before) :] == ["move", str(tmp_path / "out")]


def test_a_name_that_was_not_written_is_nothing(outputs, out):
    outputs.path("a.jpg")

    outputs.publish(["a.jpg", "b.jpg"])

    assert contents(out) == {}


def test_nothing_in_out_is_ever_overwritten(outputs, out):
    (out / "a.jpg").write_text("theirs")

    make(outputs, "a.jpg", "ours")

    assert contents(out) == {"a.jpg": "theirs", "a~1-a.jpg": "ours"}


def test_a_step_that_runs_again_replaces_its_own_unrecorded_file(outputs, out):
    make(outputs, "a.jpg", "first")

    make(outputs, "a.jpg", "second")

    assert contents(out) == {"a.jpg": "second"}


def test_so_does_one_with_the_longest_name(outputs, out):
    name = "x" * 251 + ".jpg"
    make(outputs, name, "first")

    make(outputs, name, "second")

    assert contents(out) == {name: "second"}


def test_so_does_one_whose_name_was_taken(outputs, out):
    (out / "a.jpg").write_text("theirs")
    make(outputs, "a.jpg", "first")

    make(outputs, "a.jpg", "second")

    assert contents(out) == {"a.jpg": "theirs", "a~1-a.jpg": "second"}


def test_a_file_that_somebody_put_where_ours_was_stays(outputs, out):
    make(outputs, "a.jpg", "first")
    (out / "a.jpg").unlink()
    (out / "a.jpg").write_text("theirs")

    make(outputs, "a.jpg", "second")

    assert contents(out) == {"a.jpg": "theirs", "a~1-a.jpg": "second"}


def test_a_file_that_comes_while_ours_is_taken_back_stays(outputs, out, monkeypatch):
    make(outputs, "a.jpg", "first")
    move_free = output.durable.move_free

    def racing(source_fd, source, target_fd, target, spare):
        if target == "a.jpg.old":
            (out / "a.jpg").unlink()
            (out / "a.jpg").write_text("theirs")
        return move_free(source_fd, source, target_fd, target, spare)

    monkeypatch.setattr(output.durable, "move_free", racing)
    make(outputs, "a.jpg", "second")

    assert contents(out) == {"a.jpg": "theirs", "a~1-a.jpg": "second"}


def test_what_an_attempt_left_unpublished_is_gone_when_asked_for_again(outputs):
    outputs.path("a.jpg").write_text("half")

    assert not outputs.path("a.jpg").exists()


def test_only_regular_files_are_published(outputs, out):
    outputs.path("link").symlink_to("/etc/passwd")
    outputs.path("folder").mkdir()

    outputs.publish(["link", "folder"])

    assert contents(out) == {}


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc/passwd", "a\0b"])
def test_a_name_that_is_no_plain_file_name_is_refused(outputs, name):
    with pytest.raises(PermanentError):
        outputs.path(name)


def test_nothing_was_written_where_there_is_no_folder(outputs):
    assert outputs.written() == []


@pytest.mark.parametrize("files", [3, 100])
def test_a_tree_is_synced_whatever_is_in_it(tmp_path, files):
    tree = tmp_path / "tree"
    (tree / "deep/er").mkdir(parents=True)
    (tree / "deep/link").symlink_to("nowhere")
    os.mkfifo(tree / "fifo")
    for number in range(files):
        (tree / f"deep/{number}").write_text("x")

    sync_tree(tree)


def test_no_tree_needs_no_sync(tmp_path):
    sync_tree(tmp_path / "none")


def test_a_file_that_vanishes_while_its_tree_is_synced_is_no_fault(tmp_path, monkeypatch):
    (tmp_path / "a").touch()
    monkeypatch.setattr(output, "_below", lambda folder: [folder / "a", folder / "gone"])

    sync_tree(tmp_path)
