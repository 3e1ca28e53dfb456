"""What an administrator does to a daemon at work, and what the daemon makes of it."""

import json
import os
import shutil
import signal

import pytest

QUICK = 'handler = "handler:process"\nsettle = "50ms"\nrescan = "200ms"\n'
ECHO = "def process(item):\n    return item.name\n"
FAIL = "def process(item):\n    raise ValueError(item.name)\n"
LATER = (
    "from resumed import TransientError\n\n"
    "def process(item):\n    raise TransientError(item.name)\n"
)
SLOW_RETRY = '[retry]\ninitial = "1h"\njitter = 0\n'


def drop(home, name, text="text\n"):
    (home.inbox / "tmp.part").write_text(text)
    (home.inbox / "tmp.part").rename(home.inbox / name)


def test_a_reload_takes_the_new_handler(home, daemon, ctl, wait_until):
    home.configure(QUICK, handler=ECHO)
    running = daemon()
    (home.path / "handler.py").write_text("def process(item):\n    return 'new'\n")

    ctl("reload")
    wait_until(lambda: "event" in running.tail() and "reloaded" in running.tail())

    def answer():
        drop(home, "a")
        wait_until(lambda: not home.names("inbox"))
        wait_until(lambda: home.records("done"))
        return [each["result"] for each in home.records("done")]

    wait_until(lambda: answer()[-1] == "new")


def test_a_reload_that_lets_subfolders_in_hears_what_arrives_there(home, daemon, ctl, wait_until):
    seldom = 'handler = "handler:process"\nsettle = 0\nrescan = "1h"\n'
    home.configure(seldom, handler=ECHO)
    running = daemon()
    (home.inbox / "sub").mkdir()
    home.configure(seldom + "recursive = true\n", handler=ECHO)
    drop(home, "sub/before")

    ctl("reload")
    wait_until((home.done / "sub/before").exists, what=running.tail())
    drop(home, "sub/after")

    wait_until((home.done / "sub/after").exists, what=running.tail())


STEPPING = """
import time
from pathlib import Path
from resumed import TransientError

PLACE = Path(__file__).parent

def wait_for(name):
    while not (PLACE / name).exists():
        time.sleep(0.01)

def step():
    (PLACE / "begun-VERSION").touch()
    wait_for("go-VERSION")
    return "VERSION"

def process(item):
    found = item.step("find", step)
    if "VERSION" == "1":
        raise TransientError("later")
    return found
"""


def test_a_step_of_an_old_handler_is_not_kept_under_the_new_version(home, daemon, ctl, wait_until):
    versioned = QUICK + 'version = "{}"\nretry = {{ initial = "10ms" }}\n'
    home.configure(versioned.format(1), handler=STEPPING.replace("VERSION", "1"))
    running = daemon()
    drop(home, "a")
    wait_until((home.path / "begun-1").exists, what=running.tail)
    home.configure(versioned.format(2), handler=STEPPING.replace("VERSION", "2"))

    ctl("reload")
    (home.path / "go-1").touch()
    (home.path / "go-2").touch()

    wait_until(lambda: home.records("done"), what=running.tail)
    assert [each["result"] for each in home.records("done")] == ["2"]


LOADING = """
import time
from pathlib import Path

PLACE = Path(__file__).parent
(PLACE / "loading-VERSION").touch()
while not (PLACE / "load-VERSION").exists():
    time.sleep(0.01)

def process(item):
    return "VERSION"
"""


def reloading(home, daemon, wait_until):
    """Start a daemon, and let a reload of it wait for its handler."""
    home.configure(QUICK, handler=ECHO)
    running = daemon()
    home.configure(QUICK, handler=LOADING.replace("VERSION", "1"))
    running.signal(signal.SIGHUP)
    wait_until((home.path / "loading-1").exists, what=running.tail)
    return running


def test_a_hangup_during_a_reload_is_followed_by_another_reload(home, daemon, wait_until):
    running = reloading(home, daemon, wait_until)
    home.configure(QUICK, handler=LOADING.replace("VERSION", "2"))

    running.signal(signal.SIGHUP)
    (home.path / "load-1").touch()

    wait_until((home.path / "loading-2").exists, what=running.tail)
    (home.path / "load-2").touch()
    wait_until(lambda: running.told().count("READY=1") == 3, what=running.tail)
    drop(home, "a")
    wait_until(lambda: home.records("done"), what=running.tail)
    assert [each["result"] for each in home.records("done")] == ["2"]


def test_no_hangup_makes_a_reload_that_is_under_way_look_ready(home, daemon, wait_until):
    running = reloading(home, daemon, wait_until)

    running.signal(signal.SIGHUP)
    drop(home, "a")  # by the old worker, after the signal was heard
    wait_until(lambda: home.records("done"), what=running.tail)

    assert running.told().count("READY=1") == 1
    (home.path / "load-1").touch()
    wait_until(lambda: running.told().count("READY=1") == 3, what=running.tail)


def test_a_bad_configuration_is_refused_and_the_old_one_stays(home, daemon, ctl, wait_until):
    home.configure(QUICK, handler=ECHO)
    running = daemon()
    (home.path / "resumed.toml").write_text("handler = 3\nwrokers = 2\n")

    refused = ctl("reload", status=1)
    running.signal(signal.SIGHUP)
    wait_until(lambda: running.told().count("READY=1") == 2)
    drop(home, "a")

    wait_until(lambda: home.names("done") == ["a"])
    assert "wrokers" in refused.stdout + refused.stderr
    assert "workers" in refused.stdout + refused.stderr
    assert any(each.startswith("RELOADING=1") for each in running.told())


def test_a_handler_that_cannot_be_loaded_any_more_leaves_the_old_workers(home, daemon, wait_until):
    home.configure(QUICK, handler=ECHO)
    running = daemon()
    (home.path / "handler.py").write_text("syntax error\n")

    running.signal(signal.SIGHUP)
    wait_until(lambda: "reload_refused" in running.tail())
    drop(home, "a")

    wait_until(lambda: home.names("done") == ["a"])


def test_a_handler_whose_import_now_ends_its_process_is_refused(home, daemon, ctl, wait_until):
    home.configure(QUICK, handler=ECHO)
    daemon()
    (home.path / "handler.py").write_text("import os; os._exit(5)\n")

    refused = ctl("reload", status=1)
    drop(home, "a")

    wait_until(lambda: home.names("done") == ["a"])
    assert "its import ended the process: exit 5" in refused.stdout + refused.stderr


def test_one_death_of_an_importing_worker_refuses_no_reload(home, daemon, ctl):
    home.configure(QUICK, handler=ECHO)
    daemon()
    died = home.path / "died"
    once = f"import os\ntry: os.mkdir({str(died)!r})\nexcept OSError: pass\nelse: os._exit(5)\n"
    (home.path / "handler.py").write_text(once + ECHO)

    reloaded = ctl("reload")

    assert died.is_dir()
    assert "reloaded" in reloaded.stdout


def test_paths_change_only_by_a_restart(home, daemon, ctl):
    home.configure(QUICK, handler=ECHO)
    daemon()
    home.configure(f'{QUICK}[paths]\ninbox = "{home.path}/other"\n')

    refused = ctl("reload", status=1)

    assert "restart" in refused.stdout + refused.stderr


def test_a_paused_intake_stays_paused_through_a_restart(home, daemon, ctl, wait_until):
    home.configure(QUICK, handler=ECHO)
    running = daemon()
    ctl("pause")
    drop(home, "a")
    running.stop()

    daemon()
    assert home.names("inbox") == ["a"]
    ctl("unpause")

    wait_until(lambda: home.names("done") == ["a"])


def test_an_item_is_held_released_and_removed(home, daemon, ctl, wait_until):
    home.configure(QUICK + SLOW_RETRY, handler=LATER)
    daemon()
    drop(home, "a")
    drop(home, "b")
    wait_until(lambda: len(home.records("waiting")) == 2)

    ctl("hold", "a")
    held = home.names("hold")
    ctl("release", "a")
    wait_until(lambda: len(home.records("started")) == 3)
    wait_until(lambda: len(home.records("waiting")) == 3)
    ctl("remove", "--yes", "a")
    ctl("remove", "--yes", "b")

    assert held == ["a"]
    assert not home.names("hold")
    assert len(home.records("removed")) == 2
    wait_until(lambda: len(home.records("put_away")) == 3)
    assert not [each for each in home.active.rglob("*") if each.is_file() and each.name != ".lock"]


def test_a_failed_file_that_is_removed_takes_its_note_along(home, daemon, ctl, wait_until):
    home.configure(QUICK, handler=FAIL)
    daemon()
    drop(home, "a")
    wait_until(lambda: home.records("put_away"))

    ctl("remove", "--yes", "a")

    assert os.listdir(home.failed) == []


def test_a_failed_file_that_a_person_deletes_is_gone(home, daemon, wait_until):
    home.configure(QUICK, handler=FAIL)
    daemon()
    drop(home, "a")
    wait_until(lambda: home.records("put_away"))

    (home.failed / "a").unlink()

    wait_until(lambda: home.records("gone"))


def test_a_file_moved_back_by_hand_keeps_its_steps(home, daemon, wait_until):
    handler = (
        "import os\n"
        "def process(item):\n"
        "    first = item.step('first', os.urandom, 4) if False else item.step('first', int, 7)\n"
        "    if not os.path.exists(os.environ['FLAG']): raise ValueError('not yet')\n"
        "    return [item.attempt, item.step('second', int, 8)]\n"
    )
    flag = home.path / "flag"
    home.configure(QUICK, handler=handler)
    daemon(FLAG=str(flag))
    drop(home, "a")
    wait_until((home.failed / "a.failure.txt").exists)
    flag.touch()

    (home.failed / "a.failure.txt").rename(home.inbox / "a.failure.txt")
    (home.failed / "a").rename(home.inbox / "a")

    wait_until(lambda: home.names("done") == ["a"])
    wait_until(lambda: not os.listdir(home.inbox))
    steps = [each["step"] for each in home.records("stepped")]
    assert steps == ["first", "second"]
    assert home.records("done")[0]["result"] == [2, 8]


def test_another_file_of_that_name_is_a_new_item(home, daemon, wait_until):
    home.configure(QUICK, handler=FAIL)
    daemon()
    drop(home, "a")
    wait_until(lambda: home.records("put_away"))

    drop(home, "a", "another\n")

    wait_until(lambda: len(home.records("put_away")) == 2)
    assert len({each["id"] for each in home.records("claimed")}) == 2
    assert len(home.names("failed")) == 2


def test_a_new_version_of_the_handler_forgets_recorded_steps(home, daemon, ctl, wait_until):
    handler = "def process(item):\n    item.step('only', int, 7)\n    raise ValueError('no')\n"
    home.configure(QUICK + 'version = "1"\n', handler=handler)
    running = daemon()
    drop(home, "a")
    wait_until(lambda: home.records("put_away"))
    running.stop()

    home.configure(QUICK + 'version = "2"\n')
    daemon()
    ctl("retry", "a")

    wait_until(lambda: len(home.records("failed")) == 2)
    news = [each for each in home.records("stepped") if each["n"] > each["s"]]
    assert len(news) == 1


def test_a_new_version_that_cannot_be_loaded_forgets_no_step(home, daemon, ctl, wait_until):
    handler = "def process(item):\n    item.step('only', int, 7)\n    raise ValueError('no')\n"
    home.configure(QUICK + 'version = "1"\n', handler=handler)
    daemon()
    drop(home, "a")
    wait_until(lambda: home.records("put_away"))
    home.configure(QUICK + 'version = "2"\n', handler="syntax error\n")

    refused = ctl("reload", status=1)
    ctl("retry", "a")

    wait_until(lambda: len(home.records("failed")) == 2)
    assert "the old configuration stays" in refused.stdout
    assert len(home.records("stepped")) == 1


def test_a_done_folder_that_is_removed_and_made_anew_gets_what_is_done(home, daemon, wait_until):
    """And nothing that went there is done a second time."""
    home.configure(QUICK, handler=ECHO)
    running = daemon()
    drop(home, "a")
    wait_until(lambda: home.names("done") == ["a"])
    shutil.rmtree(home.done)
    home.done.mkdir()

    drop(home, "b")
    wait_until(lambda: len(home.records("put_away")) == 2)
    running.stop()
    daemon().stop()

    assert home.names("done") == ["b"]
    assert home.names("active") == [".lock"]
    assert home.records("started") == []


def test_a_done_folder_that_is_missing_ends_the_daemon_and_no_item_runs_twice(
    home, daemon, wait_until
):
    home.configure(QUICK, handler=ECHO)
    running = daemon()
    home.done.rmdir()
    drop(home, "a")
    assert running.wait() == 74

    home.done.mkdir()
    daemon()
    wait_until(lambda: home.names("done") == ["a"])

    assert "was removed" in running.tail()
    assert home.records("started") == []


def test_an_inbox_that_is_renamed_away_and_made_anew_is_watched_again(home, daemon, wait_until):
    home.configure(QUICK, handler=ECHO)
    daemon()
    home.inbox.rename(home.path / "old")
    home.inbox.mkdir()

    drop(home, "a")
    wait_until(lambda: home.names("done") == ["a"])
    shutil.rmtree(home.path / "old")
    drop(home, "b")

    wait_until(lambda: home.names("done") == ["a", "b"])


def test_an_inbox_that_is_a_symlink_now_is_left_alone(home, daemon, wait_until):
    home.configure(QUICK, handler=ECHO)
    daemon()
    home.inbox.rename(home.path / "old")
    (home.path / "elsewhere").mkdir()
    (home.path / "elsewhere" / "secret").write_text("secret")
    home.inbox.symlink_to(home.path / "elsewhere")
    scans = len(home.records())
    drop_into_old = home.path / "old" / "b"
    drop_into_old.write_text("text")

    home.inbox.unlink()
    (home.path / "old").rename(home.inbox)

    wait_until(lambda: home.names("done") == ["b"])
    assert (home.path / "elsewhere" / "secret").read_text() == "secret"
    assert scans


def test_a_second_instance_leaves_with_its_own_status(home, daemon):
    """A drain does so, too, but without a word to cron: `test_programs` has that."""
    home.configure(QUICK, handler=ECHO)
    daemon()

    second = daemon.start()

    assert second.wait() == 75
    assert "another instance" in second.tail()


def test_a_file_changed_while_it_runs_is_run_again_once_and_then_fails(home, daemon, wait_until):
    handler = "def process(item):\n    with open(item.path, 'a') as file: file.write('more')\n"
    home.configure(QUICK, handler=handler)
    daemon()
    drop(home, "a")

    wait_until(lambda: home.names("failed") == ["a"])

    assert home.records("failed")[0]["error"]["kind"] == "changed"
    assert len(home.records("started")) == 2
    assert (home.failed / "a").read_text() == "text\nmoremore"


def test_a_handler_may_take_its_file_away(home, daemon, wait_until):
    home.configure(QUICK, handler="import os\ndef process(item):\n    os.unlink(item.path)\n")
    daemon()
    drop(home, "a")

    wait_until(lambda: home.records("put_away"))

    assert home.records("done")
    assert home.records("put_away")[0]["as"] is None


def test_done_files_are_deleted_when_that_is_wished(home, daemon, wait_until):
    home.configure(QUICK + 'on_done = "delete"\n', handler=ECHO)
    daemon()
    drop(home, "a")

    wait_until(lambda: home.records("put_away"))

    assert not home.names("done")


def test_a_marker_makes_its_file_ready_and_travels_with_it(home, daemon, wait_until):
    home.configure(QUICK + 'marker = "{name}.ok"\n', handler=ECHO)
    running = daemon()
    drop(home, "a")
    drop(home, "b")
    drop(home, "b.ok", "")

    wait_until(lambda: home.names("done") == ["b", "b.ok"])

    assert home.names("inbox") == ["a"]
    assert running.stop() == 0


@pytest.mark.parametrize(
    "way", ["retry", *(pytest.param(each, marks=pytest.mark.slow) for each in ("remove", "hold"))]
)
def test_a_marker_goes_where_its_failed_or_held_file_goes(home, drain, ctl, way):
    marked = QUICK + 'marker = "{name}.ok"\n'
    home.configure(marked, handler=LATER if way == "hold" else FAIL)
    drop(home, "a")
    drop(home, "a.ok", "")
    drain()
    if way == "hold":
        ctl("hold", "a")
        drain()
    assert home.names("hold" if way == "hold" else "failed") == ["a", "a.ok"]
    ctl("audit")
    home.configure(marked, handler=ECHO)

    ctl("release" if way == "hold" else way, "a", *(["--yes"] if way == "remove" else []))
    drain()

    ctl("audit")
    assert home.names("hold") == home.names("failed") == []
    assert home.names("done") == ([] if way == "remove" else ["a", "a.ok"])


def test_a_recursive_inbox_keeps_its_folders(home, daemon, wait_until):
    home.configure(QUICK + "recursive = true\n", handler=ECHO)
    daemon()
    (home.inbox / "deep/er").mkdir(parents=True)
    (home.inbox / "deep/er/a").write_text("text")

    wait_until((home.done / "deep/er/a").exists)

    wait_until(lambda: home.records("put_away"))
    assert home.records("put_away")[0]["as"] == "deep/er/a"


def test_a_journal_that_grew_is_rewritten_while_the_daemon_runs(home, daemon, wait_until):
    big = "def process(item):\n    return 'x' * 200_000\n"
    home.configure(QUICK, handler=big)
    running = daemon()
    for number in range(60):
        drop(home, f"item-{number}")

    wait_until(lambda: len(home.names("done")) == 60)
    wait_until(lambda: "compacted" in running.log.read_text())

    assert home.journal.stat().st_size < 8 << 20
    kept = (home.state / "history").iterdir()
    lines = [json.loads(line) for path in kept for line in path.read_text().splitlines()]
    news = [*lines, *home.records()]
    assert len({each["id"] for each in news if each["kind"] == "done"}) == 60


def test_a_full_reserve_pauses_the_intake_and_says_so(home, daemon, wait_until):
    home.configure(QUICK + 'reserve = "1000000G"\n', handler=ECHO)
    running = daemon()
    drop(home, "a")

    wait_until(lambda: any("intake paused" in each for each in running.told()))

    assert home.names("inbox") == ["a"]
    assert running.stop() == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may make a file that it cannot read")
def test_a_command_is_a_handler(home, daemon, wait_until):
    home.configure(
        'command = ["sh", "-c", "wc -c < \\"$1\\"", "sh", "{path}"]\nsettle = 0\n', handler=ECHO
    )
    daemon()
    drop(home, "a b;c", "12345")

    wait_until(lambda: home.names("done") == ["a b;c"])

    assert home.records("done")[0]["result"] == 5
