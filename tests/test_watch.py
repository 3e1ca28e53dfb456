import errno
import logging
import os
import shutil
import subprocess
import sys
import threading
import time
from importlib.metadata import version
from pathlib import Path

import pytest
from watchdog.events import DirCreatedEvent, FileClosedEvent, FileDeletedEvent, FileModifiedEvent

from resumed import ear, stranger, watch
from resumed.hints import BURST_EVENTS, Hints
from resumed.rules import Rules
from resumed.watch import Watch

TEMPORARY = Rules(["*"]).temporary
RELEASE = int(version("watchdog").split(".")[0])


class Listener:
    """A watch, and all that it said so far."""

    def __init__(self, root, *, recursive=False, requests=True):
        self.woken = threading.Event()
        self.names, self.births = [], []
        self.requests = self.scan = self.overflow = False
        self.trouble = None
        self.watch = Watch(
            root / "inbox",
            root / "requests" if requests else None,
            recursive=recursive,
            temporary=TEMPORARY,
            wake=self.woken.set,
        )

    def take(self):
        hints = self.watch.take()
        self.names += hints.names
        self.births += hints.births
        self.requests |= hints.requests
        self.scan |= hints.scan
        self.overflow |= hints.overflow
        self.trouble = self.trouble or hints.trouble
        return self

    def wait(self, condition):
        until = time.monotonic() + 20
        while not condition(self.take()):
            assert time.monotonic() < until, vars(self)
            self.woken.wait(0.05)
            self.woken.clear()
        return self


@pytest.fixture
def root(public_path):
    (public_path / "inbox").mkdir()
    (public_path / "requests").mkdir()
    return public_path


@pytest.fixture
def listen(root):
    listeners = []

    def start(**settings):
        listeners.append(Listener(root, **settings))
        assert listeners[-1].watch.start() is None
        return listeners[-1]

    yield start
    for each in listeners:
        each.watch.stop()


@pytest.fixture
def listener(listen):
    return listen()


def write(path):
    path.write_text("x")


def rename_in(path):
    (path.parent.parent / "outside").write_text("x")
    (path.parent.parent / "outside").rename(path)


def link_in(path):
    (path.parent.parent / "outside").write_text("x")
    os.link(path.parent.parent / "outside", path)


def rename_inside(path):
    (path.parent / "other").write_text("x")
    (path.parent / "other").rename(path)


@pytest.mark.parametrize("arrive", [write, rename_in, link_in, rename_inside])
def test_every_kind_of_arrival_is_heard_of(listener, root, arrive):
    arrive(root / "inbox" / "a")

    listener.wait(lambda heard: "a" in heard.names)

    assert not listener.requests


@pytest.mark.skipif(RELEASE < 7, reason="older releases do not tell a chmod from a write")
def test_a_chmod_is_heard_of(listener, root):
    (root / "inbox" / "a").touch()
    listener.wait(lambda heard: "a" in heard.names)
    listener.names.clear()

    (root / "inbox" / "a").chmod(0o600)

    listener.wait(lambda heard: "a" in heard.names)


@pytest.mark.parametrize("raw", [b"\xff\xfe", b"new\nline", b"-rf", b"x" * 255, "日本".encode()])
def test_any_name_is_told_as_the_scan_tells_it(listener, root, raw):
    with open(os.fsencode(root) + b"/inbox/" + raw, "wb"):
        pass

    listener.wait(lambda heard: os.fsdecode(raw) in heard.names)


def test_a_request_is_heard_of_without_its_name(listener, root):
    (root / "requests" / "r").touch()

    listener.wait(lambda heard: heard.requests)

    assert listener.names == []


def test_requests_need_not_be_watched(listen, root):
    listener = listen(requests=False)
    (root / "requests" / "r").touch()
    (root / "inbox" / "a").touch()

    listener.wait(lambda heard: "a" in heard.names)

    assert not listener.requests


# temporary names


def test_a_temporary_name_is_no_hint_but_its_birth_is_kept(listener, root):
    temporary = root / "inbox" / "a.part"
    temporary.touch()
    inode = temporary.stat().st_ino
    temporary.rename(root / "inbox" / "a")

    listener.wait(lambda heard: "a" in heard.names)

    assert listener.names == ["a"]
    assert [birth[0] for birth in listener.births] == [inode]


def test_the_birth_of_a_temporary_file_is_seen_while_it_is_there(root):
    heard = watch.Heard(lambda: None)
    (root / "inbox" / "a.part").touch()
    inode = (root / "inbox" / "a.part").stat().st_ino

    ear.Ear(root / "inbox", heard, TEMPORARY).dispatch(
        FileClosedEvent(str(root / "inbox" / "a.part"))
    )
    ear.Ear(root / "inbox", heard, TEMPORARY).dispatch(
        FileClosedEvent(str(root / "inbox" / "gone.part"))
    )
    heard.lost()

    assert [birth[0] for birth in heard.take().births] == [inode]


def test_a_rename_that_was_quicker_than_our_look_is_recognised(listen, root, monkeypatch):
    """The temporary name is gone when its event is heard; the arrival by rename follows."""
    real, looks = stranger.birth_of, []

    def birth_of(folder_fd, name):
        looks.append(name)
        return None if name.endswith(".part") else real(folder_fd, name)

    monkeypatch.setattr(stranger, "birth_of", birth_of)
    listener = listen()
    (root / "inbox" / "a.part").touch()
    listener.wait(lambda _: looks)
    (root / "inbox" / "a.part").rename(root / "inbox" / "a")

    listener.wait(lambda heard: "a" in heard.names)

    assert [birth[0] for birth in listener.births] == [(root / "inbox" / "a").stat().st_ino]


def test_an_arrival_by_rename_from_elsewhere_is_not_taken_for_complete(listener, root):
    rename_in(root / "inbox" / "a")

    listener.wait(lambda heard: "a" in heard.names)

    assert listener.births == []


def test_a_ghost_is_believed_in_for_a_second_only():
    hearer = ear.Ear(Path("/inbox"), None, TEMPORARY)
    hearer._ghosts.extend([10.0, 10.5])

    assert hearer._was_temporary("", 11.2)
    assert not hearer._was_temporary("", 11.3)


# what our own claims do


@pytest.mark.skipif(RELEASE < 6, reason="older releases always watch moved-from")
def test_a_file_that_is_moved_out_does_not_delay_the_next_hint(listener, root):
    """Watchdog holds an unmatched moved-from event, and all behind it, for half a second."""
    delays = []
    for number in range(10):
        began = time.monotonic()
        (root / "inbox" / str(number)).touch()
        listener.wait(lambda heard, number=number: str(number) in heard.names)
        delays.append(time.monotonic() - began)
        (root / "inbox" / str(number)).rename(root / "claimed")

    assert sorted(delays)[5] < 0.2


@pytest.mark.skipif(RELEASE < 6, reason="older releases watch for everything")
@pytest.mark.usefixtures("listener")
def test_the_kernel_is_asked_for_arrivals_only():
    masks = []
    for name in os.listdir("/proc/self/fdinfo"):
        try:
            text = Path(f"/proc/self/fdinfo/{name}").read_text()
        except OSError:
            continue
        masks += [
            int(line.split("mask:")[1].split()[0], 16)
            for line in text.splitlines()
            if line.startswith("inotify")
        ]

    assert len(masks) == 2
    for mask in masks:
        # created, moved to, written, attributes, itself deleted; never moved from or modified
        assert mask & 0xFFF == 0x100 | 0x80 | 0x8 | 0x4 | 0x400


# folders


def test_a_flat_watch_hears_nothing_from_subfolders(listen, root):
    listener = listen(recursive=False)
    (root / "inbox" / "sub").mkdir()
    listener.wait(lambda heard: heard.scan)
    (root / "inbox" / "sub" / "a").touch()
    (root / "inbox" / "b").touch()

    listener.wait(lambda heard: "b" in heard.names)

    assert listener.names == ["b"]


def test_a_recursive_watch_hears_of_new_folders_and_what_is_in_them(listen, root):
    listener = listen(recursive=True)
    (root / "inbox" / "x" / "y").mkdir(parents=True)
    listener.wait(lambda heard: heard.scan)

    until = time.monotonic() + 20
    while "x/y/a" not in listener.take().names:
        assert time.monotonic() < until
        (root / "inbox" / "x" / "y" / "a").touch()

    assert listener.watch.healthy()


def test_a_folder_that_is_moved_in_is_to_be_scanned(listen, root):
    (root / "sub").mkdir()
    (root / "sub" / "a").touch()
    listener = listen(recursive=True)
    (root / "sub").rename(root / "inbox" / "sub")

    listener.wait(lambda heard: heard.scan)


# trouble


def test_an_inbox_that_is_deleted_ends_the_watch_and_a_new_one_is_watched_again(listener, root):
    assert listener.watch.healthy()

    (root / "inbox").rmdir()
    listener.wait(lambda heard: heard.scan and not heard.watch.healthy())
    (root / "inbox").mkdir()
    assert listener.watch.start() is None

    assert listener.watch.healthy()
    (root / "inbox" / "a").touch()
    listener.wait(lambda heard: "a" in heard.names)


def test_a_watch_that_never_started_or_was_stopped_is_not_healthy(root):
    listener = Listener(root)
    assert not listener.watch.healthy()

    listener.watch.start()
    listener.watch.stop()

    assert not listener.watch.healthy()
    assert listener.watch.take() == Hints()


def test_a_missing_folder_is_a_trouble_not_an_error(root):
    shutil.rmtree(root / "inbox")

    assert "No such file" in Listener(root).watch.start()


@pytest.mark.parametrize(
    ("number", "limit"),
    [
        (errno.ENOSPC, "fs.inotify.max_user_watches"),
        (errno.EMFILE, "fs.inotify.max_user_instances"),
    ],
)
def test_a_limit_is_told_with_the_name_of_its_setting(root, monkeypatch, number, limit):
    class Refusing(watch._Observer):
        def start(self):
            raise OSError(number, "limit reached")

    monkeypatch.setattr(watch, "_Observer", Refusing)
    listener = Listener(root)

    assert listener.watch.start() == f"limit reached; raise the limit {limit} with sysctl"
    assert not listener.watch.healthy()


LIMIT = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
sys.path.insert(0, {package!r})
from pathlib import Path
from resumed.watch import Watch
os.setgroups([]); os.setgid(65534); os.setuid(54321)
made = []
for _ in range(100000):
    watch = Watch(Path(sys.argv[1]), None, recursive=False, temporary=lambda _: False,
                  wake=lambda: None)
    made.append(watch)
    trouble = watch.start()
    if trouble:
        break
print(trouble)
"""


def test_the_kernels_own_limit_is_met_and_told(root):
    """As a user of its own, so that nobody else runs out of instances."""
    if os.geteuid() != 0:
        pytest.skip("only root can become a user whom nobody else is")
    script = LIMIT.format(package=str(Path(__file__).parent.parent))

    ended = subprocess.run(
        [sys.executable, "-c", script, root / "inbox"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert "fs.inotify.max_user_instances" in ended.stdout, ended.stderr


@pytest.mark.skipif(RELEASE < 7, reason="older releases keep an overflow secret")
def test_an_overflow_that_watchdog_only_logs_is_told(listener):
    logging.getLogger("watchdog.observers.inotify_c").warning(
        "Inotify queue overflowed; filesystem events were lost"
    )

    listener.wait(lambda heard: heard.overflow and heard.scan)

    assert listener.trouble is None


def test_other_complaints_are_trouble_and_printed_nowhere(listener, capfd):
    logging.getLogger("watchdog.observers").error("it is %s", "broken")

    listener.wait(lambda heard: heard.scan)

    assert listener.trouble == "it is broken"
    assert capfd.readouterr() == ("", "")


def test_complaints_of_threads_that_were_stopped_are_not_trouble(listener):
    listener.watch.stop()

    logging.getLogger("watchdog.observers").error("inactive")

    assert listener.take().trouble is None


OVERFLOW = """
import os, signal, sys, threading, time
sys.path.insert(0, {package!r})
from pathlib import Path
from resumed.watch import Watch
watch = Watch(Path(sys.argv[1]), None, recursive=False, temporary=lambda _: False,
              wake=lambda: None)
assert watch.start() is None
print("ready", flush=True)
until = time.monotonic() + 60
while time.monotonic() < until and not watch.take().scan:
    time.sleep(0.01)
else:
    print("scan" if time.monotonic() < until else "nothing", flush=True)
"""


def test_a_watcher_that_was_frozen_during_a_burst_advises_to_scan(root):
    import signal

    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if limit > 50_000:
        pytest.skip("the queue of this machine is too long to fill")
    script = OVERFLOW.format(package=str(Path(__file__).parent.parent))
    with subprocess.Popen(
        [sys.executable, "-c", script, root / "inbox"], stdout=subprocess.PIPE, text=True
    ) as frozen:
        assert frozen.stdout.readline() == "ready\n"
        frozen.send_signal(signal.SIGSTOP)
        folder = os.open(root / "inbox", os.O_RDONLY)
        for number in range(limit // 2 + 1000):
            os.close(os.open(str(number), os.O_WRONLY | os.O_CREAT, dir_fd=folder))
        os.close(folder)
        frozen.send_signal(signal.SIGCONT)
        said = frozen.stdout.readline()

    assert said == "scan\n"


def test_an_exception_in_our_own_code_is_trouble_and_not_the_end(listener, root, monkeypatch):
    def break_down(*_):
        raise RuntimeError("broken")

    monkeypatch.setattr(ear.Ear, "_hear", break_down)
    (root / "inbox" / "a").touch()
    listener.wait(lambda heard: heard.trouble)
    monkeypatch.undo()

    assert listener.trouble == "RuntimeError('broken')"
    (root / "inbox" / "b").touch()
    listener.wait(lambda heard: "b" in heard.names)
    assert listener.watch.healthy()


def test_a_loop_that_cannot_be_woken_does_not_end_the_watch(root):
    def wake():
        raise OSError(errno.EBADF, "closed")

    heard = watch.Heard(wake)

    ear.Bell(heard).dispatch(None)
    hearer = ear.Ear(root / "inbox", heard, TEMPORARY)
    heard.take()
    hearer.dispatch(FileClosedEvent(str(root / "inbox" / "a")))

    assert heard.take().names == ("a",)


# the releases' different ways


@pytest.mark.parametrize(
    "event", [FileModifiedEvent("/inbox/a"), FileDeletedEvent("/inbox/a")], ids=["write", "delete"]
)
def test_what_is_no_arrival_is_no_hint(event):
    heard = watch.Heard(lambda: None)

    ear.Ear(Path("/inbox"), heard, TEMPORARY).dispatch(event)

    assert heard.take() == Hints()


def test_a_burst_is_counted():
    heard = watch.Heard(lambda: None)
    hearer = ear.Ear(Path("/inbox"), heard, TEMPORARY)
    for _ in range(20 * BURST_EVENTS):
        hearer.dispatch(FileClosedEvent("/inbox/a"))
        if heard.take().scan:
            return

    pytest.fail("no burst was noticed")


def test_releases_that_pair_moves_tell_the_temporary_name_themselves(root):
    from watchdog.events import FileMovedEvent

    heard = watch.Heard(lambda: None)
    (root / "inbox" / "a").touch()
    hearer = ear.Ear(root / "inbox", heard, TEMPORARY)

    hearer.dispatch(FileMovedEvent(str(root / "inbox" / "a.tmp"), str(root / "inbox" / "a")))
    hearer.dispatch(FileMovedEvent(str(root / "inbox" / "b"), ""))
    hearer.dispatch(DirCreatedEvent(str(root / "inbox" / "sub")))

    hints = heard.take()
    assert hints.names == ("a",)
    assert [birth[0] for birth in hints.births] == [(root / "inbox" / "a").stat().st_ino]
    assert hints.scan


def test_releases_without_filters_are_scheduled_without(root):
    class Old:
        def schedule(self, ear, path, recursive):
            self.scheduled = (ear, path, recursive)

    old = Old()

    watch._schedule(old, "ear", root, recursive=True)

    assert old.scheduled == ("ear", str(root), True)


# the way of a hint


@pytest.fixture
def threads(monkeypatch):
    """The threads in which our ears heard something."""
    found = set()
    real = ear.Ear.hear

    def hear(self, *what):
        found.add(threading.current_thread())
        real(self, *what)

    monkeypatch.setattr(ear.Ear, "hear", hear)
    return found


@pytest.mark.skipif(RELEASE < 7, reason="older releases hear in the thread of the emitter")
def test_a_plain_event_is_heard_in_the_thread_that_reads_it(threads, listener, root):
    (root / "inbox" / "a").touch()
    listener.wait(lambda heard: "a" in heard.names)

    assert threads == {listener.watch._observer._inotify_fd}


def test_no_event_waits_for_the_thread_of_the_observer(threads, listener, root):
    (root / "inbox" / "a").touch()
    (root / "inbox" / "sub").mkdir()
    listener.wait(lambda heard: "a" in heard.names and heard.scan)

    assert listener.watch._observer not in threads


# stopping


def test_stopping_is_quick_even_with_events_on_their_way(listen, root):
    listener = listen(recursive=True)
    for number in range(500):
        (root / "inbox" / str(number)).touch()
    (root / "inbox" / "0").rename(root / "claimed")

    began = time.monotonic()
    listener.watch.stop()

    assert time.monotonic() - began < 0.5
    listener.watch.stop()


def test_stopping_waits_for_nobody(listener, monkeypatch):
    released = threading.Event()
    real = watch._stop
    monkeypatch.setattr(watch, "_stop", lambda observer: (released.wait(20), real(observer)))

    began = time.monotonic()
    listener.watch.stop()

    assert time.monotonic() - began < 1.0
    released.set()


def test_starting_again_listens_once(listener, root):
    assert listener.watch.start() is None
    (root / "inbox" / "a").touch()

    listener.wait(lambda heard: "a" in heard.names)

    assert listener.watch.healthy()
