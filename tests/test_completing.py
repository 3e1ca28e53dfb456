import itertools
import os
import subprocess
import sys

import pytest

from resumed import place
from resumed.recorder import Recorder


@pytest.fixture
def complete(home):
    def run(*words):
        line = ["resumed-ctl", "--home", str(home.path), *words]
        environ = {
            "COMP_WORDS": " ".join(line),
            "COMP_CWORD": str(len(line) - 1),
            "_RESUMED_CTL_COMPLETE": "bash_complete",
        }
        code = "import sys; sys.argv = ['resumed-ctl']; from resumed import ctl; ctl.main()"
        ended = subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.stderr == ""
        return [row.partition(",")[2] for row in ended.stdout.split()]

    return run


@pytest.fixture
def paths(home):
    return place.find(home=home.path)


def test_names_of_items_and_commands_are_completed(complete, paths):
    bits = itertools.count(1)
    recorder = Recorder(paths, lambda: 1763812800.0, lambda _: next(bits))
    for number, name in enumerate(("alpha", "alto\x1b", "beta")):
        identity = {"inode": number, "size": 1, "mtime_ns": 1, "owner": 0}
        recorder.record("claimed", id=f"019a3c5d7e2-{number:010x}", name=name, **identity)
    recorder.commit()
    recorder._journal.close()

    assert complete("show", "al") == ["alpha"]
    assert complete("why", "b") == ["beta"]
    assert complete("fail") == ["failures"]


def test_where_nothing_can_be_read_nothing_is_completed(complete, paths):
    paths.journal.write_text("nonsense\n")

    assert complete("show", "a") == []


@pytest.fixture
def of_each_kind(paths):
    """Make an item in each state, which is its name."""
    bits = itertools.count(1)
    recorder = Recorder(paths, lambda: 1763812800.0, lambda _: next(bits))
    error = {"step": None, "error": {"kind": "builtins.ValueError", "text": "x"}}
    for number, name in enumerate(("pending", "running", "waiting", "held", "failed")):
        item = {"id": f"019a3c5d7e2-{number:010x}"}
        recorder.record("claimed", **item, name=name, inode=number, size=1, mtime_ns=1, owner=0)
        if name == "held":
            recorder.record("held", **item, why="asked for")
        elif name != "pending":
            recorder.record("started", **item, attempt=1)
        if name == "waiting":
            recorder.record("waiting", **item, **error, attempt=1, delay=60)
        if name == "failed":
            recorder.record("failed", **item, **error, attempt=1, output="")
            recorder.record("put_away", **item, **{"as": "failed~1"})
    recorder.commit()
    recorder._journal.close()


@pytest.mark.usefixtures("of_each_kind")
@pytest.mark.parametrize(
    ("verb", "names"),
    [
        ("retry", {"waiting", "failed", "failed~1"}),
        ("hold", {"pending", "waiting"}),
        ("release", {"held"}),
        ("remove", {"pending", "waiting", "held", "failed", "failed~1"}),
        ("show", {"pending", "running", "waiting", "held", "failed", "failed~1"}),
        ("log", {"pending", "running", "waiting", "held", "failed", "failed~1"}),
        ("why", {"pending", "running", "waiting", "held", "failed", "failed~1", "lying"}),
    ],
)
def test_a_command_completes_what_it_can_do_something_with(complete, home, verb, names):
    (home.inbox / "lying").touch()

    assert set(complete(verb, "")) == names


def test_a_path_is_completed_as_a_path(complete, home):
    assert complete("why", f"{home.inbox}/") == [f"{home.inbox}/"]
