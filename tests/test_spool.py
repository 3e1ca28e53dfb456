import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from resumed import durable, shelf, sidecar, stranger
from resumed.arrival import Ready, identity_of
from resumed.errors import ConfigError, StorageError
from resumed.folders import SPARES_KEPT, Claimed
from resumed.model import Failed, Fault, Identity
from resumed.settings import Paths
from resumed.spool import FEW, PutAway, Refused, Spool

FOLDERS = ("inbox", "active", "hold", "done", "failed", "out")


def new_id(number):
    return f"019a3c5d7e2-{number:010x}"


@pytest.fixture
def root(tmp_path):
    for folder in FOLDERS:
        (tmp_path / folder).mkdir(mode=0o700)
    stranger.ignore_lease_breaks()
    return tmp_path


@pytest.fixture
def paths(root):
    return Paths.below(root, root / "state")


@pytest.fixture
def spool(paths):
    spool = Spool(paths, marker_of=lambda name: f"{name}.ok")
    yield spool
    spool.close()


def ready(root, name, content="content", marker=None):
    """Drop a file and find it ready, as the gate does."""
    path = root / "inbox" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return found(root, name, marker)


def found(root, name, marker=None):
    fd = os.open(root / "inbox" / name, os.O_RDONLY)
    return Ready(name, identity_of(os.fstat(fd)), fd, marker)


def claim(spool, root, name, number=1, marker=None):
    (claimed,) = spool.claim([ready(root, name, marker=marker)], [new_id(number)])
    assert isinstance(claimed, Claimed), claimed
    return claimed


def tree(root):
    """List every file, and its content, below the folders."""
    return {
        str(path.relative_to(root)): path.read_text()
        for folder in FOLDERS
        for path in (root / folder).rglob("*")
        if path.is_file()
    }


def open_descriptors():
    return len(os.listdir("/proc/self/fd"))


# opening


def test_all_missing_folders_are_named_at_once(root, paths):
    (root / "hold").rmdir()
    (root / "done").rmdir()
    (root / "done").symlink_to("failed")
    before = open_descriptors()

    with pytest.raises(ConfigError) as caught:
        Spool(paths)

    assert [str(mistake.file.name) for mistake in caught.value.mistakes] == ["hold", "done"]
    assert open_descriptors() == before


@pytest.mark.parametrize("name", ["hold", "done", "failed", "out"])
def test_a_folder_of_another_file_system_is_refused_at_once(paths, name):
    """Every item would run, and the program end when its file is to be put away."""
    with (
        tempfile.TemporaryDirectory(dir="/dev/shm") as elsewhere,
        pytest.raises(ConfigError, match=f"{elsewhere}: is on another file system"),
    ):
        Spool(replace(paths, **{name: Path(elsewhere)}))


def test_closing_leaves_no_descriptor_and_no_spare_folder(root, paths):
    before = open_descriptors()
    spool = Spool(paths)
    claim(spool, root, "a")
    spool.put_away([PutAway(new_id(1), "a", "done")])
    assert os.listdir(root / "active") == [new_id(1)]

    spool.close()

    assert os.listdir(root / "active") == []
    assert open_descriptors() == before


# claiming


def test_a_claimed_file_is_in_active_under_its_id(spool, root):
    one = ready(root, "a.jpg")

    (claimed,) = spool.claim([one], [new_id(1)])

    assert claimed == Claimed(new_id(1), "a.jpg", one.identity, os.geteuid())
    assert tree(root) == {f"active/{new_id(1)}/a.jpg": "content"}
    assert spool.identity(new_id(1), "a.jpg") == one.identity


@pytest.mark.parametrize("count", [1, FEW - 1, FEW, 256])
def test_a_batch_is_claimed_in_its_order_and_its_descriptors_are_closed(spool, root, count):
    before = open_descriptors()
    batch = [ready(root, f"{number:03}", str(number)) for number in range(count)]
    ids = [new_id(number) for number in range(count)]

    claimed = spool.claim(batch, ids)

    assert [each.id for each in claimed] == ids
    assert [each.name for each in claimed] == [f"{number:03}" for number in range(count)]
    assert open_descriptors() == before
    assert os.listdir(root / "inbox") == []


def test_nothing_is_claimed_of_an_empty_batch(spool):
    assert spool.claim([], []) == []


def test_a_file_without_read_permission_is_claimed_without_descriptor(spool, root):
    one = ready(root, "a")
    os.close(one.fd)
    (root / "inbox" / "a").chmod(0)

    (claimed,) = spool.claim([Ready("a", one.identity, None)], [new_id(1)])

    assert isinstance(claimed, Claimed)


def test_a_file_that_is_gone_is_refused_as_vanished(spool, root):
    batch = [ready(root, "a"), ready(root, "sub/b"), ready(root, "c")]
    shutil.rmtree(root / "inbox" / "sub")
    (root / "inbox" / "a").unlink()

    answers = spool.claim(batch, [new_id(1), new_id(2), new_id(3)])

    assert answers[:2] == [Refused("a", "vanished"), Refused("sub/b", "vanished")]
    assert answers[2].id == new_id(3)


def test_a_writer_that_came_in_between_gets_its_file_back(spool, root):
    one = ready(root, "a")
    with (root / "inbox" / "a").open("ab") as file:
        answers = spool.claim([one], [new_id(1)])
        file.write(b" and more")

    assert answers == [Refused("a", "open for writing")]
    assert tree(root) == {"inbox/a": "content and more"}


def test_a_file_that_changed_in_between_goes_back(spool, root):
    one = ready(root, "a")
    (root / "inbox" / "a").write_text("other content")

    assert spool.claim([one], [new_id(1)]) == [Refused("a", "changed")]
    assert tree(root) == {"inbox/a": "other content"}


def test_another_file_under_the_name_goes_back(spool, root):
    one = ready(root, "sub/a")
    (root / "inbox" / "sub" / "a").unlink()
    (root / "inbox" / "sub" / "a").symlink_to("/etc/hostname")

    assert spool.claim([one], [new_id(1)]) == [Refused("sub/a", "changed")]
    assert (root / "inbox" / "sub" / "a").is_symlink()


def test_a_file_that_goes_back_gets_a_free_name_when_its_own_is_taken(spool, root, monkeypatch):
    one = ready(root, "a.txt", "first")

    def has_writer(_):
        (root / "inbox" / "a.txt").write_text("second")
        return True

    monkeypatch.setattr(stranger, "has_writer", has_writer)

    (refused,) = spool.claim([one], [new_id(1)])

    assert refused == Refused(f"a~{new_id(1)}.txt", "open for writing")
    assert tree(root) == {"inbox/a.txt": "second", f"inbox/a~{new_id(1)}.txt": "first"}


def test_a_file_goes_back_to_the_top_when_its_folder_is_gone(spool, root, monkeypatch):
    one = ready(root, "sub/a", "first")

    def has_writer(_):
        (root / "inbox" / "sub").rmdir()
        return True

    monkeypatch.setattr(stranger, "has_writer", has_writer)

    assert spool.claim([one], [new_id(1)]) == [Refused("a", "open for writing")]
    assert tree(root) == {"inbox/a": "first"}


def test_a_file_that_cannot_go_back_at_all_stays_in_active(spool, root, monkeypatch):
    one = ready(root, "a", "first")
    monkeypatch.setattr(stranger, "has_writer", lambda _: True)

    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(durable, "move_free", refuse)

    assert spool.claim([one], [new_id(1)]) == [Refused("a", "vanished", "open for writing")]
    assert spool.active_entries() == [(new_id(1), ["a"])]


def test_a_file_that_may_not_be_moved_is_refused_with_the_reason(spool, root, monkeypatch):
    one = ready(root, "a")

    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(durable, "move", refuse)

    assert spool.claim([one], [new_id(1)]) == [Refused("a", "unmovable", "Operation not permitted")]
    assert tree(root) == {"inbox/a": "content"}


def test_a_marker_travels_with_its_file(spool, root):
    (root / "inbox" / "a.ok").write_text("marker")

    claim(spool, root, "a", marker="a.ok")

    assert spool.active_entries() == [(new_id(1), ["a", "a.ok"])]


def test_a_marker_that_is_gone_hinders_nothing(spool, root):
    claim(spool, root, "a", marker="a.ok")

    assert spool.active_entries() == [(new_id(1), ["a"])]


def test_the_same_id_can_be_claimed_again(spool, root):
    """A failed file that a person moved back keeps its id."""
    claim(spool, root, "a")
    spool.put_away([PutAway(new_id(1), "a", "failed")])
    (root / "failed" / "a").rename(root / "inbox" / "a")

    (claimed,) = spool.claim([found(root, "a")], [new_id(1)])
    claim(spool, root, "b", 2)

    assert claimed.id == new_id(1)
    assert spool.active_entries() == [(new_id(1), ["a"]), (new_id(2), ["b"])]


def test_an_entry_that_exists_is_used_as_it_is(spool, root):
    claim(spool, root, "spare", 9)
    spool.put_away([PutAway(new_id(9), "spare", None)])
    for number in (1, 2):
        (root / "active" / new_id(number)).mkdir()
        (root / "active" / new_id(number) / "stray").touch()

    claim(spool, root, "a", 1)
    claim(spool, root, "b", 3)
    claim(spool, root, "c", 2)

    assert spool.active_entries() == [
        (new_id(1), ["a", "stray"]),
        (new_id(2), ["c", "stray"]),
        (new_id(3), ["b"]),
    ]


def test_no_folder_is_made_or_removed_from_the_second_item_on(spool, root):
    claim(spool, root, "a", 1)
    inode = (root / "active" / new_id(1)).stat().st_ino
    spool.put_away([PutAway(new_id(1), "a", "done")])

    claim(spool, root, "b", 2)

    assert (root / "active" / new_id(2)).stat().st_ino == inode
    assert os.listdir(root / "active") == [new_id(2)]


def test_a_spare_folder_that_somebody_removed_is_made_anew(spool, root):
    claim(spool, root, "a", 1)
    spool.put_away([PutAway(new_id(1), "a", "done")])
    (root / "active" / new_id(1)).rmdir()

    claim(spool, root, "b", 2)

    assert spool.active_entries() == [(new_id(2), ["b"])]


def test_an_active_folder_that_takes_no_more_is_a_storage_error(spool, root, monkeypatch):
    one = ready(root, "a")

    def refuse(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "mkdir", refuse)
    before = open_descriptors()

    with pytest.raises(StorageError, match="active: No space left"):
        spool.claim([one], [new_id(1)])

    assert open_descriptors() == before - 1
    assert tree(root) == {"inbox/a": "content"}


def test_a_subfolder_that_is_removed_before_the_sync_hinders_nothing(spool, root, monkeypatch):
    one = ready(root, "sub/a")
    real = stranger.has_writer

    def has_writer(fd):
        (root / "inbox" / "sub").rmdir()
        return real(fd)

    monkeypatch.setattr(stranger, "has_writer", has_writer)

    (claimed,) = spool.claim([one], [new_id(1)])

    assert claimed.name == "sub/a"
    assert tree(root) == {f"active/{new_id(1)}/a": "content"}


# putting away


@pytest.mark.parametrize("to", ["done", "failed", "hold"])
def test_a_file_is_put_away_under_its_name(spool, root, to):
    claim(spool, root, "a.jpg")

    assert spool.put_away([PutAway(new_id(1), "a.jpg", to)]) == ["a.jpg"]
    assert tree(root) == {f"{to}/a.jpg": "content"}


@pytest.mark.parametrize("count", [FEW - 1, FEW, 256])
def test_a_batch_is_put_away_and_its_descriptors_are_closed(spool, root, count):
    batch = [ready(root, f"{number:03}", str(number)) for number in range(count)]
    spool.claim(batch, [new_id(number) for number in range(count)])
    before = open_descriptors()

    kept = spool.put_away(
        [PutAway(new_id(number), f"{number:03}", "done") for number in range(count)]
    )

    assert kept == [f"{number:03}" for number in range(count)]
    assert tree(root) == {f"done/{number:03}": str(number) for number in range(count)}
    assert open_descriptors() == before


def test_a_taken_name_is_left_to_its_owner(spool, root):
    (root / "done" / "a.jpg").write_text("theirs")
    (root / "done" / f"a~{new_id(1)}.jpg").write_text("theirs too")
    claim(spool, root, "a.jpg")

    assert spool.put_away([PutAway(new_id(1), "a.jpg", "done")]) == [f"a~{new_id(1)}-2.jpg"]
    assert tree(root) == {
        "done/a.jpg": "theirs",
        f"done/a~{new_id(1)}.jpg": "theirs too",
        f"done/a~{new_id(1)}-2.jpg": "content",
    }


def test_a_second_link_of_the_file_in_the_way_is_not_taken_for_a_move(spool, root):
    claim(spool, root, "a")
    os.link(root / "active" / new_id(1) / "a", root / "done" / "a")

    assert spool.put_away([PutAway(new_id(1), "a", "done")]) == [f"a~{new_id(1)}"]
    assert spool.active_entries() == []


def test_a_deleted_file_goes_with_its_marker(spool, root):
    (root / "inbox" / "a.ok").write_text("marker")
    claim(spool, root, "a", marker="a.ok")

    assert spool.put_away([PutAway(new_id(1), "a", None)]) == [None]
    assert tree(root) == {}


def test_a_marker_is_put_away_beside_its_file(spool, root):
    (root / "inbox" / "a.ok").write_text("marker")
    claim(spool, root, "a", marker="a.ok")

    assert spool.put_away([PutAway(new_id(1), "a", "failed")]) == ["a"]
    assert tree(root) == {"failed/a": "content", "failed/a.ok": "marker"}


@pytest.mark.parametrize(("to", "where"), [("failed", "failed"), (None, "done")])
def test_what_a_handler_left_beside_its_input_is_not_lost(spool, root, to, where):
    claim(spool, root, "a")
    entry = root / "active" / new_id(1)
    (entry / "stray").write_text("stray")
    (entry / "folder").mkdir()
    (entry / "folder" / "deep").write_text("deep")

    spool.put_away([PutAway(new_id(1), "a", to)])

    assert {f"{where}/stray": "stray", f"{where}/folder/deep": "deep"}.items() <= tree(root).items()
    assert spool.active_entries() == []


def test_a_folder_in_the_place_of_a_deleted_file_is_kept(spool, root):
    claim(spool, root, "a")
    (root / "active" / new_id(1) / "a").unlink()
    (root / "active" / new_id(1) / "a").mkdir()
    (root / "active" / new_id(1) / "a" / "precious").write_text("x")

    assert spool.put_away([PutAway(new_id(1), "a", None)]) == [None]
    assert tree(root) == {"done/a/precious": "x"}


def test_a_file_that_its_handler_took_away_is_put_away_as_nothing(spool, root):
    claim(spool, root, "a")
    (root / "active" / new_id(1) / "a").unlink()

    kept = spool.put_away([PutAway(new_id(1), "a", "done"), PutAway(new_id(2), "b", "done")])

    assert kept == [None, None]


def test_a_file_that_vanishes_at_the_last_moment_is_put_away_as_nothing(spool, root, monkeypatch):
    claim(spool, root, "a")
    monkeypatch.setattr(stranger, "names_in", lambda _: ["gone"])

    assert spool.put_away([PutAway(new_id(1), "gone", "done")]) == [None]


@pytest.mark.parametrize("to", ["hold", "done", "failed"])
def test_a_folder_that_was_made_anew_is_put_into(spool, root, to):
    """Whoever cleans up may remove the whole folder, or rename it."""
    claim(spool, root, "a")
    (root / to).rename(root / "of-last-year")
    (root / to).mkdir()

    assert spool.put_away([PutAway(new_id(1), "a", to)]) == ["a"]
    shutil.rmtree(root / to)
    (root / to).mkdir()
    claim(spool, root, "b")
    assert spool.put_away([PutAway(new_id(1), "b", to)]) == ["b"]

    assert tree(root) == {f"{to}/b": "content"}


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("to", ["hold", "done", "failed"])
def test_no_file_is_forgotten_because_its_folder_was_removed(spool, root, to, alone):
    claim_all(spool, root, "a", "b")
    (root / to).rmdir()

    with pytest.raises(StorageError, match=f"/{to}: was removed"):
        spool.put_away([PutAway(new_id(n), name, to, alone) for n, name in enumerate("ab")])

    assert tree(root) == {f"active/{new_id(0)}/a": "a", f"active/{new_id(1)}/b": "b"}


@pytest.mark.parametrize("alone", [False, True])
def test_nor_because_its_subfolder_was_removed_in_between(spool, root, monkeypatch, alone):
    open_below = shelf.open_below

    def open_and_lose(*arguments):
        opened = open_below(*arguments)
        (root / "done/sub").rmdir()
        return opened

    for number in (1, 2):
        claim(spool, root, f"sub/{number}", number)
    monkeypatch.setattr(shelf, "open_below", open_and_lose)

    with pytest.raises(StorageError):
        spool.put_away([PutAway(new_id(n), f"sub/{n}", "done", alone) for n in (1, 2)])

    assert sorted(tree(root)) == [f"active/{new_id(n)}/{n}" for n in (1, 2)]


def test_what_is_shelved_is_not_forgotten_because_its_folder_was_removed(spool, root):
    claim(spool, root, "a")
    fd = os.open(root / "active" / new_id(1), os.O_RDONLY)
    (root / "done").rmdir()

    with pytest.raises(StorageError, match="/done: was removed"):
        spool.shelve(fd, "a", "results", new_id(1))

    (root / "done").mkdir()
    assert spool.shelve(fd, "a", "results", new_id(1)) == "results"
    os.close(fd)


def test_a_file_that_cannot_be_put_away_ends_the_program(spool, root, monkeypatch):
    claim(spool, root, "a")

    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(durable, "move_free", refuse)

    with pytest.raises(StorageError, match=f"active/{new_id(1)}/a: Operation not permitted"):
        spool.put_away([PutAway(new_id(1), "a", "done")])


def test_a_file_that_cannot_be_deleted_ends_the_program(spool, root, monkeypatch):
    claim(spool, root, "a")

    def refuse(*_, **__):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "unlink", refuse)

    with pytest.raises(StorageError):
        spool.put_away([PutAway(new_id(1), "a", None)])


def test_subfolders_are_kept_in_done(spool, root):
    batch = [ready(root, name) for name in ("x/y/a", "x/y/b", "x/c", "d")]
    spool.claim(batch, [new_id(number) for number in range(4)])

    kept = spool.put_away(
        [
            PutAway(new_id(number), name, "done")
            for number, name in enumerate(("x/y/a", "x/y/b", "x/c", "d"))
        ]
    )

    assert kept == ["x/y/a", "x/y/b", "x/c", "d"]
    assert sorted(tree(root)) == ["done/d", "done/x/c", "done/x/y/a", "done/x/y/b"]


@pytest.mark.parametrize("obstacle", ["file", "symlink"])
def test_what_is_in_the_way_of_a_subfolder_stays_and_is_not_followed(spool, root, obstacle):
    (root / "elsewhere").mkdir()
    if obstacle == "file":
        (root / "done" / "x").write_text("theirs")
    else:
        (root / "done" / "x").symlink_to(root / "elsewhere")
    claim(spool, root, "x/a")

    (kept,) = spool.put_away([PutAway(new_id(1), "x/a", "done")])

    assert kept == f"x~{new_id(1)}/a"
    assert tree(root)[f"done/{kept}"] == "content"
    assert os.listdir(root / "elsewhere") == []


def test_a_subfolder_that_cannot_be_made_ends_the_program(spool, root, monkeypatch):
    claim(spool, root, "x/a")

    def refuse(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "mkdir", refuse)

    with pytest.raises(StorageError, match="No space left"):
        spool.put_away([PutAway(new_id(1), "x/a", "done")])


def test_a_folder_that_an_orphan_still_locks_is_not_used_again(spool, root):
    claim(spool, root, "a")
    orphan = os.open(root / "active" / new_id(1), os.O_RDONLY)
    durable.lock(orphan)

    spool.put_away([PutAway(new_id(1), "a", "done")])

    assert os.listdir(root / "active") == []
    os.close(orphan)


def put_away_alone(spool, *names, to="done"):
    """Put away what its worker saw to be alone in its folder."""
    return spool.put_away(
        [PutAway(new_id(number), name, to, alone=True) for number, name in enumerate(names)]
    )


def claim_all(spool, root, *names):
    spool.claim([ready(root, name, name) for name in names], [*map(new_id, range(len(names)))])


@pytest.mark.parametrize("to", ["done", "failed"])
def test_files_that_are_alone_are_put_away_and_their_folders_used_again(spool, root, to):
    names = ["a", "b", "c"]
    claim_all(spool, root, *names)
    before = open_descriptors()

    assert put_away_alone(spool, *names, to=to) == names

    assert tree(root) == {f"{to}/{name}": name for name in names}
    assert open_descriptors() == before
    spool.claim([ready(root, "d")], [new_id(9)])
    assert sorted(os.listdir(root / "active")) == [new_id(0), new_id(1), new_id(9)]


def test_files_that_are_alone_are_deleted(spool, root):
    claim_all(spool, root, "a", "b")

    assert put_away_alone(spool, "a", "b", to=None) == [None, None]
    assert tree(root) == {}


def test_a_file_that_is_alone_never_takes_a_name(spool, root):
    (root / "done" / "a").write_text("old")
    claim_all(spool, root, "a", "b")

    assert put_away_alone(spool, "a", "b") == [f"a~{new_id(0)}", "b"]
    assert (root / "done" / "a").read_text() == "old"


@pytest.mark.parametrize("to", ["done", None])
def test_what_was_alone_and_is_not_what_it_was_is_looked_at_again(spool, root, to):
    claim_all(spool, root, "gone", "folder", "b")
    folders = [root / "active" / new_id(number) for number in range(2)]
    (folders[0] / "gone").rename(folders[0] / "renamed")
    (folders[1] / "folder").unlink()
    (folders[1] / "folder").mkdir()
    (folders[1] / "folder" / "kept").write_text("kept")

    assert put_away_alone(spool, "gone", "folder", "b", to=to)[0] is None

    left = {"done/renamed": "gone", "done/folder/kept": "kept"}
    assert tree(root) == (left | {"done/b": "b"} if to else left)


def test_what_came_too_late_is_put_away_with_the_next_item_of_the_folder(spool, root):
    claim_all(spool, root, "a", "b")
    (root / "active" / new_id(1) / "late").write_text("late")

    assert put_away_alone(spool, "a", "b") == ["a", "b"]
    spool.claim([ready(root, "c", "c")], [new_id(9)])
    spool.put_away([PutAway(new_id(9), "c", "done")])

    assert tree(root) == {"done/a": "a", "done/b": "b", "done/c": "c", "done/late": "late"}


def test_only_so_many_spare_folders_are_kept(spool, root):
    count = SPARES_KEPT + 3
    for first in range(0, count, 256):
        numbers = range(first, min(first + 256, count))
        batch = [ready(root, f"{number:03}") for number in numbers]
        spool.claim(batch, [new_id(number) for number in numbers])
    for first in range(0, count, 256):
        numbers = range(first, min(first + 256, count))
        spool.put_away([PutAway(new_id(number), f"{number:03}", None) for number in numbers])

    assert len(os.listdir(root / "active")) == SPARES_KEPT
    spool.tidy()
    assert os.listdir(root / "active") == []


# scratch folders


def test_the_scratch_folder_is_removed_without_following_anything(spool, root):
    (root / "precious").mkdir()
    (root / "precious" / "file").write_text("x")
    claim(spool, root, "a")
    work = root / "active" / f"{new_id(1)}.work"
    (work / "deep").mkdir(parents=True)
    (work / "deep" / "scratch").touch()
    (work / "link").symlink_to(root / "precious")

    spool.put_away([PutAway(new_id(1), "a", "done")])

    assert os.listdir(root / "active") == [new_id(1)]
    assert (root / "precious" / "file").exists()


def test_the_scratch_folder_of_an_item_that_is_held_stays(spool, root):
    """Recorded steps may have left there what the next ones need."""
    claim(spool, root, "a")
    (root / "active" / f"{new_id(1)}.work").mkdir()

    spool.put_away([PutAway(new_id(1), "a", "hold")])

    assert (root / "active" / f"{new_id(1)}.work").is_dir()


@pytest.mark.parametrize("kind", ["empty", "file", "symlink"])
def test_whatever_stands_for_the_scratch_folder_is_removed(spool, root, kind):
    claim(spool, root, "a")
    work = root / "active" / f"{new_id(1)}.work"
    {
        "empty": work.mkdir,
        "file": work.touch,
        "symlink": lambda: work.symlink_to(root / "done"),
    }[kind]()

    spool.put_away([PutAway(new_id(1), "a", "done")])

    assert os.listdir(root / "active") == [new_id(1)]
    assert tree(root) == {"done/a": "content"}


def test_scratch_folders_of_items_long_over_are_swept(spool, root):
    for name in (f"{new_id(1)}.work", f"{new_id(2)}.work", "mine.work", new_id(3)):
        (root / "active" / name).mkdir()

    spool.sweep({new_id(2)})

    assert sorted(os.listdir(root / "active")) == [f"{new_id(2)}.work", new_id(3), "mine.work"]


# after a crash


@pytest.mark.parametrize("kept", [slice(0, 0), slice(0, 1), slice(0, 300), slice(200, None)])
def test_a_note_that_a_power_cut_filled_with_zeros_is_swept(spool, root, kept):
    failed = Failed(1, None, Fault("builtins.OSError", "no"), "", 0.0)
    advice = sidecar.Advice("resumed-ctl", "inbox", 3)
    note = sidecar.render(failed, item_id=new_id(1), kept_as="a", advice=advice)
    torn = bytearray(len(note))
    torn[kept] = note[kept]
    (root / "failed" / ".resumed-0123456789abcdef").write_bytes(torn)
    (root / "failed" / ".resumed-0123456789abcdee").write_bytes(b"\0somebody's")

    spool.sweep(set())

    assert os.listdir(root / "failed") == [".resumed-0123456789abcdee"]


def test_what_lies_in_active_is_listed_and_empty_folders_are_used_again(spool, root):
    for name in (new_id(2), new_id(1), "not-ours"):
        (root / "active" / name).mkdir()
        (root / "active" / name / "b").touch()
        (root / "active" / name / "a").touch()
    (root / "active" / new_id(3)).mkdir()
    (root / "active" / new_id(4)).touch()

    assert spool.active_entries() == [(new_id(1), ["a", "b"]), (new_id(2), ["a", "b"])]

    claim(spool, root, "c", 5)
    assert not (root / "active" / new_id(3)).exists()


def test_the_identity_of_an_item_is_that_of_a_regular_file_only(spool, root):
    claim(spool, root, "sub/a")
    assert spool.identity(new_id(1), "sub/a").size == len("content")

    (root / "active" / new_id(1) / "a").unlink()
    assert spool.identity(new_id(1), "sub/a") is None
    (root / "active" / new_id(1) / "a").symlink_to("/etc/hostname")
    assert spool.identity(new_id(1), "sub/a") is None


@pytest.mark.parametrize("folder", ["failed", "hold"])
def test_a_file_is_taken_back_under_its_id(spool, root, folder):
    claimed = claim(spool, root, "x/a")
    (kept,) = spool.put_away([PutAway(new_id(1), "x/a", folder)])
    assert spool.find_kept(folder, kept) == claimed.identity

    assert spool.take_back(folder, kept, new_id(1), "x/a", claimed.identity)

    assert spool.identity(new_id(1), "x/a") == claimed.identity
    claim(spool, root, "b", 2)
    assert spool.active_entries() == [(new_id(1), ["a"]), (new_id(2), ["b"])]


def test_another_file_under_the_name_is_not_taken_back(spool, root):
    claimed = claim(spool, root, "a")
    (kept,) = spool.put_away([PutAway(new_id(1), "a", "failed")])
    (root / "failed" / "a").write_text("another")

    assert not spool.take_back("failed", kept, new_id(1), "a", claimed.identity)
    assert not spool.take_back("failed", "missing/a", new_id(1), "a", claimed.identity)
    assert spool.find_kept("failed", "missing/a") is None
    assert tree(root) == {"failed/a": "another"}


def test_a_file_that_is_swapped_while_it_is_taken_back_goes_back(spool, root, monkeypatch):
    claimed = claim(spool, root, "a")
    (kept,) = spool.put_away([PutAway(new_id(1), "a", "failed")])
    real = durable.move

    def move(source_fd, source, target_fd, target):
        (root / "failed" / "a").write_text("swapped")
        real(source_fd, source, target_fd, target)

    monkeypatch.setattr(durable, "move", move)

    assert not spool.take_back("failed", kept, new_id(1), "a", claimed.identity)
    assert (root / "failed" / "a").read_text() == "swapped"


def test_an_item_whose_file_is_back_in_the_inbox_is_reclaimed(spool, root):
    claimed = claim(spool, root, "a")
    (root / "active" / new_id(1) / "a").rename(root / "inbox" / "a")

    assert spool.reclaim(new_id(1), "a", claimed.identity)
    assert spool.active_entries() == [(new_id(1), ["a"])]


def test_a_file_without_a_record_is_adopted_under_a_new_id(spool, root):
    entry = root / "active" / new_id(1)
    entry.mkdir()
    (entry / "a").write_text("x")
    (entry / "a.ok").touch()
    (entry / "b").touch()

    adopted = spool.adopt(new_id(1), "a", new_id(2), "a.ok")

    assert adopted == Claimed(new_id(2), "a", spool.identity(new_id(2), "a"), os.geteuid())
    assert spool.adopt(new_id(1), "b", new_id(3), "b.ok").name == "b"
    assert spool.active_entries() == [(new_id(2), ["a", "a.ok"]), (new_id(3), ["b"])]


def test_what_is_no_file_is_not_adopted(spool, root):
    entry = root / "active" / new_id(1)
    entry.mkdir()
    (entry / "link").symlink_to("/etc/hostname")
    (entry / "a").touch()

    assert spool.adopt(new_id(1), "link", new_id(2)) is None
    assert spool.adopt(new_id(1), "missing", new_id(2)) is None
    assert spool.adopt(new_id(1), "a", new_id(2)).id == new_id(2)
    assert spool.active_entries() == [(new_id(1), ["link"]), (new_id(2), ["a"])]


def test_the_note_of_a_subfolder_goes_with_its_item(spool, root):
    claim(spool, root, "x/a.txt")
    assert spool.origins() == {(root / "active" / new_id(1) / "a.txt").stat().st_ino: "x/"}

    spool.put_away([PutAway(new_id(1), "x/a.txt", "done")])

    assert spool.origins() == {}
    assert os.listdir(root / "active") == [new_id(1)]


def test_a_file_that_was_not_claimed_leaves_no_note_of_its_subfolder(spool, root):
    one = ready(root, "x/a.txt")
    (root / "inbox" / "x" / "a.txt").write_text("changed in between")

    assert spool.claim([one], [new_id(1)]) == [Refused("x/a.txt", "changed")]
    assert spool.origins() == {}


def test_a_note_that_an_earlier_claim_left_is_replaced(spool, root):
    (root / "active" / f"{new_id(1)}.from").symlink_to("1:old")

    claim(spool, root, "x/a.txt")

    assert list(spool.origins().values()) == ["x/"]


def test_a_put_away_that_was_not_recorded_is_found(spool, root):
    (root / "done" / "x").mkdir()
    (root / "done" / "x" / "a.txt").write_text("theirs")
    claimed = claim(spool, root, "x/a.txt")
    (kept,) = spool.put_away([PutAway(new_id(1), "x/a.txt", "done")])

    assert spool.search("done", new_id(1), "x/a.txt", claimed.identity) == kept
    assert spool.search("failed", new_id(1), "x/a.txt", claimed.identity) is None


def test_only_the_very_file_is_unlinked(spool, root):
    claimed = claim(spool, root, "a")
    spool.put_away([PutAway(new_id(1), "a", "failed")])

    assert not spool.unlink_kept("failed", "a", Identity(1, 2, 3))
    assert not spool.unlink_kept("failed", "no/a", claimed.identity)
    assert spool.unlink_kept("failed", "a", claimed.identity)
    assert tree(root) == {}


def test_an_unlink_that_the_disk_refuses_ends_the_program(spool, root, monkeypatch):
    claimed = claim(spool, root, "a")
    spool.put_away([PutAway(new_id(1), "a", "failed")])

    def refuse(*_, **__):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "unlink", refuse)

    with pytest.raises(StorageError):
        spool.unlink_kept("failed", "a", claimed.identity)


# the order of syncs

DRIVE = """
import os, sys
from resumed import stranger
from resumed.arrival import Ready, identity_of
from resumed.settings import Paths
from resumed.spool import PutAway, Spool
from pathlib import Path
root, count = Path(sys.argv[1]), int(sys.argv[2])
stranger.ignore_lease_breaks()
spool = Spool(Paths.below(root, root / "state"))
names = [f"{number:03}" for number in range(count)]
ids = [f"019a3c5d7e2-{number:010x}" for number in range(count)]
batch = []
for name in names:
    fd = os.open(root / "inbox" / name, os.O_RDONLY)
    batch.append(Ready(name, identity_of(os.fstat(fd)), fd))
os.path.lexists("claim-begins")
spool.claim(batch, ids)
os.path.lexists("claim-ended")
spool.put_away([PutAway(id_, name, "done") for id_, name in zip(ids, names)])
os.path.lexists("put-away-ended")
"""


def syncs(root, count):
    """Trace a claim and a put-away; list the calls that move and sync, with their paths."""
    for number in range(count):
        (root / "inbox" / f"{number:03}").write_text("x")
    trace = root / "trace"
    wanted = "trace=renameat2,rename,renameat,fsync,fdatasync,syncfs,newfstatat,lstat"
    subprocess.run(
        ["strace", "-y", "-e", wanted, "-o", trace, sys.executable, "-c", DRIVE, root, str(count)],
        check=True,
        cwd=Path(__file__).parent.parent,
    )
    calls = []
    for line in trace.read_text().splitlines():
        if re.search(r"claim-(begins|ended)|put-away-ended", line):
            calls.append(re.search(r'"([a-z-]+)"', line)[1])
        elif found := re.match(r"(renameat2|fsync|fdatasync|syncfs)\(\d+<([^>]*)>", line):
            calls.append(f"{found[1]} {Path(found[2]).relative_to(root)}")
    begin, claimed, put_away = (
        calls.index(mark) for mark in ("claim-begins", "claim-ended", "put-away-ended")
    )
    return calls[begin + 1 : claimed], calls[claimed + 1 : put_away]


needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")


@needs_strace
def test_a_single_item_is_synced_piece_by_piece_destinations_first(root):
    claimed, put_away = syncs(root, 1)

    assert claimed == [
        "renameat2 inbox",
        "fsync active",
        f"fsync active/{new_id(0)}/000",
        f"fsync active/{new_id(0)}",
        "fsync inbox",
    ]
    assert put_away == [
        f"renameat2 active/{new_id(0)}",
        "fsync done",
        f"fsync active/{new_id(0)}",
    ]


@needs_strace
def test_a_large_batch_is_synced_once_after_its_last_move(root):
    claimed, put_away = syncs(root, 40)

    assert claimed == ["renameat2 inbox"] * 40 + ["syncfs active"]
    assert [call.split()[0] for call in put_away] == ["renameat2"] * 40 + ["syncfs"]


def test_without_sync_input_only_the_names_are_synced(root, paths, monkeypatch):
    synced = []
    real = durable.sync_folder
    monkeypatch.setattr(
        durable, "sync_folder", lambda fd: (synced.append(durable.path_of(fd)), real(fd))
    )
    spool = Spool(paths, sync_input=False)

    claim(spool, root, "sub/a")

    relative = [str(Path(path).relative_to(root)) for path in synced]
    assert relative == ["active", f"active/{new_id(1)}", "inbox/sub"]
    spool.close()


LOOKING = """
import os, sys
sys.path.insert(0, {package!r})
from pathlib import Path
from resumed.paths import Paths
from resumed.spool import Spool
if not os.geteuid():
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
home = Path(sys.argv[1])
for name in ("inbox", "active", "hold", "done", "failed", "out", "active/{id}"):
    (home / name).mkdir()
file = home / "active/{id}/a.txt"
file.write_text("x")
inode = file.stat().st_ino
file.parent.chmod(0)
assert Spool(Paths.below(home, home / "state")).identity("{id}", "a.txt").inode == inode
"""


def test_a_file_is_not_gone_because_its_handler_closed_its_folder(public_path):
    home = public_path / "home"
    home.mkdir()
    home.chmod(0o777)
    package = str(Path(__file__).parent.parent)

    looking = LOOKING.format(package=package, id="01900000000-0000000001")

    subprocess.run([sys.executable, "-c", looking, home], check=True)
