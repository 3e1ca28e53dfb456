"""The pool is tested with real workers, by a loop like the daemon's but smaller."""

import fcntl
import os
import selectors
import signal
import subprocess
import sys
import time

import pytest

from resumed import mark, orphans, pool, process, report
from resumed.launch import Launch
from resumed.pool import Pool
from resumed.report import (
    Absent,
    Began,
    Busy,
    Finished,
    GaveBack,
    Loaded,
    LoadFailed,
    Progressed,
    StepTaken,
    WorkerDied,
)
from resumed.settings import Command, PythonHandler
from resumed.verdict import Broken, Exited, Raised, Returned, Stopped
from resumed.wire import Assignment, NonsenseError

SECONDS = 30
HANDLER = PythonHandler("handler", "process")
WAIT = """
import time
def process(item):
    while not item.path.with_name("go").exists():
        time.sleep(0.01)
    return item.name
"""


class Loop:
    """What the daemon does with a pool, and nothing else."""

    def __init__(self, folder, source, handler=HANDLER, workers=1, **limits):
        self.folder = folder
        for name in ("config", "out", "active"):
            (folder / name).mkdir(exist_ok=True)
        self.source(source)
        self.limits = limits
        self.selector = selectors.DefaultSelector()
        self.watched = {}
        self.reports = []
        self.number = 0
        self.acknowledging = True
        self.first = self.launch(handler)
        self.pool = Pool(self.first, workers, self.watch)

    def source(self, text, name="handler"):
        (self.folder / f"config/{name}.py").write_text(text)

    def launch(self, handler=HANDLER):
        folder = self.folder
        return Launch(handler, folder / "config", folder / "out", folder / "marks", **self.limits)

    def watch(self, fd, events):
        if fd in self.watched:
            self.selector.unregister(fd)
            del self.watched[fd]
        if events:
            self.selector.register(fd, events)
            self.watched[fd] = events

    def assignment(self, name="a", **particulars):
        self.number += 1
        id_ = f"{self.number:011x}-{0:010x}"
        folder = self.folder / "active" / id_
        folder.mkdir()
        (folder / "file").touch()
        values = {
            "id": id_,
            "name": name,
            "path": str(folder / "file"),
            "attempt": 1,
            "key": id_,
            "scratch": f"{folder}.work",
            "lock": str(folder),
        } | particulars
        return Assignment(**values)

    def send(self, *names, worker=None, **particulars):
        sent = [self.assignment(name, **particulars) for name in names]
        self.pool.assign(worker or next(iter(self.pool.room())), sent)
        ids = [each.id for each in sent]
        return ids if len(ids) > 1 else ids[0]

    def turn(self, timeout=0.02):
        for key, events in self.selector.select(timeout):
            self.heard(self.pool.ready(key.fd, events))
        due = self.pool.due()
        if due is not None and due <= time.monotonic():
            self.heard(self.pool.tick(time.monotonic()))

    def heard(self, reports):
        for each in reports:
            self.reports.append(each)
            if isinstance(each, StepTaken) and self.acknowledging:
                self.pool.acknowledge(each.worker, each.id, each.step)

    def until(self, condition, seconds=SECONDS):
        until = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < until, self.reports
            self.turn()

    def take(self, kind, count=1):
        """Wait for so many reports of a kind, and return them."""
        self.until(lambda: len(self.of(kind)) >= count)
        return self.of(kind)[:count] if count > 1 else self.of(kind)[0]

    def of(self, kind):
        return [each for each in self.reports if isinstance(each, kind)]

    def forget(self):
        self.reports = []

    def ready(self, workers=1):
        self.until(lambda: len(self.pool.room()) >= workers)
        return self

    def go(self, id_):
        (self.folder / "active" / id_ / "go").touch()

    def close(self):
        self.pool.close()
        assert self.watched == {}
        self.selector.close()


@pytest.fixture
def loop(tmp_path):
    loops = []

    def made(source="def process(item): return item.name", handler=HANDLER, **more):
        loops.append(Loop(tmp_path, source, handler, **more))
        return loops[-1]

    yield made
    for each in loops:
        each.close()
    orphans.kill_all()


@pytest.fixture
def run(loop):
    """Start a pool and wait until its workers have loaded the handler."""

    def started(*arguments, workers=1, **more):
        made = loop(*arguments, workers=workers, **more)
        made.pool.start()
        return made.ready(workers)

    return started


def lives(pid):
    return orphans.born(pid) is not None


def test_items_run_and_their_ends_are_told(run):
    loop = run()
    (worker,) = loop.pool.room()

    ids = loop.send("a", "b")

    loop.take(Finished, 2)
    told = [(type(each), each.id) for each in loop.reports if not isinstance(each, Loaded)]
    assert told == [(Began, ids[0]), (Finished, ids[0]), (Began, ids[1]), (Finished, ids[1])]
    finished = loop.take(Finished)
    assert finished.end == Returned("a", finished.end.seconds)
    assert 0 <= finished.end.seconds < SECONDS
    assert (finished.worker, finished.output, finished.scratch) == (worker, b"", False)


def test_workers_share_the_work_and_the_idle_come_first(run):
    loop = run(WAIT, workers=2)
    first, second = loop.pool.room()
    assert set(loop.pool.room().values()) == {mark.AHEAD_LIMIT}

    loop.send("a", "b", worker=first)

    assert loop.pool.room() == {second: mark.AHEAD_LIMIT, first: mark.AHEAD_LIMIT - 2}
    assert list(loop.pool.room()) == [second, first]
    assert not loop.pool.idle()
    id_ = loop.take(Began).id
    assert loop.pool.workers() == {first: id_, second: None}
    loop.go(id_)


def test_a_step_goes_on_when_it_is_acknowledged(run):
    loop = run("def process(item): return item.step('one', len, 'abc')")
    loop.acknowledging = False
    id_ = loop.send("a")
    step = loop.take(StepTaken)
    assert (step.id, step.step, step.result) == (id_, "one", 3)
    loop.turn(0.2)
    assert loop.of(Finished) == []

    loop.pool.acknowledge(step.worker, id_, "one")
    loop.pool.acknowledge(99999999, id_, "one")

    assert loop.take(Finished).end.result == 3


def test_progress_is_told(run):
    loop = run("def process(item): item.progress(1, 2)")
    id_ = loop.send("a")

    assert loop.take(Progressed) == Progressed(*loop.pool.room(), id_, 1, 2)


def test_what_was_printed_belongs_to_who_printed_it(run):
    loop = run("def process(item): print(item.name)")

    loop.send("a", "b")

    assert [each.output for each in loop.take(Finished, 2)] == [b"a\n", b"b\n"]


def test_of_much_output_the_end_is_kept_and_nobody_waits(run):
    source = """
import os
def process(item):
    if item.name == "much":
        piece = b"x" * 99 + bytes([10])
        for _ in range(2000):
            os.write(1, piece * 1000)
        os.write(2, b"the end")
    return item.name
"""
    loop = run(source, workers=2)
    first, second = loop.pool.room()
    much = loop.send("much", worker=first)
    loop.take(Began)

    small = loop.send("small", worker=second)

    finished = loop.take(Finished, 2)
    assert [each.id for each in finished] == [small, much]
    assert len(finished[1].output) == process.OUTPUT_BYTES
    assert finished[1].output.endswith(b"x\nthe end")


NONSENSE = [
    "hello",
    "{}",
    '{"say":"x"}',
    '{"say":"began","id":"x","attempt":1}',
    '{"say":"ended","id":"x","how":"returned","result":1}',
    '{"say":"ended","id":"x","how":"busy"}',
    '{"say":"gave_back","ids":["x"]}',
]
SURVIVOR = """
import ctypes, os, signal, stat
def nonsense(text):
    for fd in range(3, 256):
        try:
            os.write(fd, b"")
        except OSError:
            continue
        if stat.S_ISFIFO(os.fstat(fd).st_mode) and not os.path.samestat(os.fstat(fd), os.fstat(1)):
            os.write(fd, text.encode() + bytes([10]))
    signal.pause()
def process(item):
    if item.name != "bad":
        return item.name
    print("last words", flush=True)
    eval(item.key)
"""


@pytest.mark.parametrize(
    ("code", "how"),
    [
        ("ctypes.string_at(0)", "signal 11 (SEGV)"),
        ("os.abort()", "signal 6 (ABRT)"),
        ("os.kill(os.getpid(), 9)", "signal 9 (KILL)"),
        ("os.kill(os.getpid(), 40)", "signal 40 (real-time)"),
        ("os._exit(0)", "exit 0"),
        ("os._exit(255)", "exit 255"),
        ("os.closerange(3, 200)", "closed its pipes"),
        ("(os.closerange(3, 200), signal.pause())", "closed its pipes"),
        *((f"nonsense({text!r})", "wrote into the pipe to the daemon") for text in NONSENSE),
    ],
)
def test_a_handler_that_kills_its_worker_costs_only_its_own_item(run, code, how):
    loop = run(SURVIVOR)
    sent = [loop.assignment("good"), loop.assignment("bad", key=code), loop.assignment("next")]
    good, bad, after = (each.id for each in sent)

    loop.pool.assign(next(iter(loop.pool.room())), sent)

    died = loop.take(WorkerDied)
    assert (died.id, died.queued, died.how, died.interrupted) == (bad, (after,), how, False)
    assert b"last words" in died.output
    assert [each.id for each in loop.of(Finished)] == [good]
    loop.ready()
    loop.send("again")
    assert loop.take(Finished, 2)[1].end.result == "again"


def test_what_is_sent_to_a_worker_that_has_just_died_is_given_back(run):
    loop = run()
    (worker,) = loop.pool.room()
    os.kill(worker, signal.SIGKILL)
    os.waitid(os.P_PID, worker, os.WEXITED | os.WNOWAIT)

    ids = loop.send("a", "b", worker=worker)

    assert loop.take(WorkerDied).queued == tuple(ids)


def test_large_results_are_heard_whole(run):
    loop = run("def process(item): return [item.step(n, str, 'x' * 260_000) for n in 'ab'][0]")

    loop.send("a", "b", "c")

    assert [len(each.end.result) for each in loop.take(Finished, 3)] == [260_000] * 3


def test_the_step_that_killed_the_worker_is_known(run):
    loop = run("import os\ndef process(item): item.step('a', int); item.step('b', os._exit, 1)")
    loop.send("x")

    assert loop.take(WorkerDied).step == "b"


def test_an_attempt_past_its_time_is_ended_with_all_that_it_started(run):
    source = """
import os, signal, subprocess
def process(item):
    script = "setsid sleep 1000 & echo $! > pid; wait"
    subprocess.Popen(["sh", "-c", script], cwd=item.path.parent, start_new_session=True)
    while not (item.path.with_name("pid").exists() and item.path.with_name("pid").read_text()):
        pass
    os.kill(os.getpid(), signal.SIGSTOP)
"""
    loop = run(source, timeout_seconds=1.0)

    id_ = loop.send("a")

    died = loop.take(WorkerDied)
    assert (died.id, died.how, died.interrupted) == (id_, "timeout", False)
    assert not lives(int((loop.folder / "active" / id_ / "pid").read_text()))


def test_time_counts_from_the_beginning_of_each_attempt(run):
    loop = run("import time\ndef process(item): time.sleep(0.4)", timeout_seconds=1.0)

    loop.send("a", "b", "c", "d")

    assert len(loop.take(Finished, 4)) == 4
    assert loop.of(WorkerDied) == []


def test_a_command_past_its_time_is_ended(run):
    script = "setsid sleep 1000 & echo $! > pid; cp pid $RESUMED_PATH; wait"
    command = Command(("sh", "-c", f"cd $(dirname $RESUMED_PATH); {script}"))
    loop = run("", command, timeout_seconds=1.0)

    id_ = loop.send("a")

    assert loop.take(WorkerDied).how == "timeout"
    assert not lives(int((loop.folder / "active" / id_ / "pid").read_text()))


def test_a_kill_for_lack_of_memory_is_called_so(run, monkeypatch):
    loop = run("import os\ndef process(item): os.kill(os.getpid(), 9)")
    monkeypatch.setattr(pool.memory, "kills", lambda: 10**9)
    loop.send("a")

    assert loop.take(WorkerDied).how == "out of memory"


def test_a_limit_of_memory_is_a_failure_like_any_other(run):
    loop = run(
        "import resource\ndef process(item):\n"
        " resource.setrlimit(resource.RLIMIT_AS, (1 << 28, 1 << 28))\n return len(bytes(1 << 30))"
    )
    loop.send("a")

    assert loop.take(Finished).end.kinds[0] == "builtins.MemoryError"


@pytest.mark.parametrize(
    ("command", "end"),
    [
        (("sh", "-c", "exit 75"), Exited(75)),
        (("sh", "-c", "kill -11 $$"), Exited(-11)),
        (("/no/such",), Broken("/no/such: No such file or directory")),
    ],
)
def test_the_ends_of_commands_are_told_apart(run, command, end):
    loop = run("", Command(command))
    loop.send("a")

    assert loop.take(Finished).end == end


def test_failures_are_told_with_their_classes_and_step(run):
    loop = run("def process(item): item.step('open', open, '/nowhere')")
    loop.send("a")

    end = loop.take(Finished).end

    assert isinstance(end, Raised)
    assert end.kinds[:2] == ("builtins.FileNotFoundError", "builtins.OSError")
    assert (end.errno, end.step) == (2, "open")


def test_what_could_not_begin_is_told_and_the_rest_goes_on(run):
    loop = run()
    held = loop.assignment()
    fd = os.open(held.lock, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    gone = loop.assignment(lock="/nowhere")
    good = loop.assignment()
    loop.pool.assign(next(iter(loop.pool.room())), [held, gone, good])

    ends = loop.take(Finished, 3)

    assert ends[0].end == Busy()
    assert isinstance(ends[1].end, Absent)
    assert isinstance(ends[2].end, Returned)
    assert [each.id for each in loop.of(Began)] == [good.id]
    os.close(fd)


def test_scratch_that_stays_is_told(run):
    loop = run("def process(item): (item.workdir / 'x').touch()")
    loop.send("a")

    assert loop.take(Finished).scratch


def test_what_was_not_begun_can_be_recalled(run):
    loop = run(WAIT)
    first, second, third = loop.send("a", "b", "c")
    loop.take(Began)

    loop.pool.recall()

    assert loop.take(GaveBack).ids == (second, third)
    loop.go(first)
    loop.take(Finished)
    assert loop.pool.idle()
    loop.pool.recall()


def test_more_than_a_pipe_holds_is_sent_as_there_is_room(run):
    loop = run("def process(item): return item.step('big', int) and len(item.step('big2', int))")
    steps = {"big": "x" * 200_000, "big2": "y" * 200_000}

    loop.send(*"abcdefgh", steps=steps)

    assert [each.end.result for each in loop.take(Finished, 8)] == [200_000] * 8


def test_all_that_an_item_has_recorded_is_sent_however_much_it_is(run):
    names = "abcdefghijklmnopqrst"
    loop = run(f"def process(item): return sum(len(item.step(n, int)) for n in {names!r})")

    loop.send("a", steps=dict.fromkeys(names, "x" * 250_000))

    assert loop.take(Finished).end.result == 20 * 250_000


def test_a_recall_catches_up_with_what_is_not_yet_sent(run):
    loop = run(WAIT)
    first = loop.send("a")
    loop.take(Began)
    rest = loop.send("b", "c", "d", steps={"big": "x" * 200_000})

    loop.pool.recall()

    loop.until(lambda: [id_ for each in loop.of(GaveBack) for id_ in each.ids] == rest)
    loop.go(first)
    loop.take(Finished)
    assert len(loop.of(Began)) == 1


def test_a_worker_is_replaced_after_its_share_without_a_hole(run):
    loop = run(recycle=5)
    (first,) = loop.pool.room()
    sent = 0
    while first in loop.pool.workers():
        assert loop.pool.room()
        loop.send("a")
        sent += 1
        loop.take(Finished, sent)

    loop.send("a")
    assert loop.take(Finished, sent + 1)[-1].worker != first
    assert sent >= 5
    assert loop.of(WorkerDied) == []
    assert not lives(first)


def test_a_new_configuration_takes_over_once_it_is_loaded(run):
    loop = run(workers=2)
    old = set(loop.pool.room())
    loop.source("def process(item): return 'new'", "other")

    loop.pool.reload(loop.launch(PythonHandler("other", "process")), 3)

    loop.until(lambda: len(loop.pool.room()) == 3 and not old & set(loop.pool.workers()))
    loop.send("a")
    assert loop.take(Finished).end.result == "new"
    assert loop.of(WorkerDied) == []


def test_what_an_old_worker_has_begun_it_finishes(run):
    loop = run(WAIT)
    id_ = loop.send("a")
    began = loop.take(Began)

    loop.pool.reload(loop.launch(), 1)
    loop.take(Loaded, 2)
    loop.go(id_)

    assert loop.take(Finished).worker == began.worker
    loop.until(lambda: began.worker not in loop.pool.workers())


def test_a_new_configuration_that_cannot_be_loaded_leaves_the_old_workers(run):
    loop = run()
    old = loop.pool.room()

    loop.pool.reload(loop.launch(PythonHandler("no_such", "process")), 1)
    failed = loop.take(LoadFailed)
    loop.pool.reload(loop.first, 1)

    assert "no_such" in failed.text
    assert loop.pool.room() == old
    loop.send("a")
    assert loop.take(Finished).end.result == "a"
    loop.until(lambda: set(loop.pool.workers()) == set(old))
    assert loop.of(WorkerDied) == []


def test_a_handler_that_cannot_be_loaded_is_tried_again_ever_later(loop):
    made = loop("import no_such")
    made.pool.start()

    made.take(LoadFailed, 3)

    assert made.of(WorkerDied) == []
    assert made.pool.due() > time.monotonic()


def test_a_worker_that_dies_while_it_loads_is_told(loop):
    made = loop("import os; os._exit(3)")
    made.pool.start()

    died = made.take(WorkerDied)

    assert (died.id, died.how) == (None, "exit 3")


def test_a_worker_that_loads_for_ever_is_ended(loop, monkeypatch):
    monkeypatch.setattr(process, "LOAD_SECONDS", 0.5)
    made = loop("import time; time.sleep(1000)")
    made.pool.start()

    assert made.take(WorkerDied).how == "timeout"


def test_a_machine_without_room_for_a_worker_is_asked_again_later(run, monkeypatch):
    loop = run("import os\ndef process(item): os._exit(1)")
    start = process.launch.start
    refusals = []

    def refuse(marks):
        if len(refusals) < 2:
            refusals.append(marks)
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return start(marks)

    monkeypatch.setattr(process.launch, "start", refuse)
    loop.send("a")
    loop.take(WorkerDied)

    loop.ready()

    assert len(refusals) == 2


def test_a_stop_lets_finish_what_runs_and_gives_back_the_rest(run):
    loop = run(WAIT)
    first, second = loop.send("a", "b")
    loop.take(Began)

    loop.pool.stop()

    assert loop.take(GaveBack).ids == (second,)
    assert loop.pool.room() == {}
    loop.go(first)
    assert loop.take(Finished).id == first
    loop.until(lambda: not loop.pool.workers())
    assert loop.of(WorkerDied) == []
    assert loop.pool.due() is None


def test_a_stop_is_seen_by_a_backoff_inside_a_handler(run):
    source = """
from resumed import retry
@retry(attempts=9, base=100)
def flaky(item):
    item.progress(1)
    raise ConnectionError
def process(item):
    flaky(item)
"""
    loop = run(source)
    loop.send("a")
    loop.take(Progressed)

    loop.pool.stop()

    assert loop.take(Finished).end == Stopped()


def test_an_interruption_is_polite_first(run):
    loop = run("import time\ndef process(item):\n item.progress(1)\n time.sleep(1000)")
    loop.send("a", "b")
    loop.take(Progressed)

    loop.pool.interrupt()

    assert loop.take(Finished).end == Stopped()
    loop.until(lambda: not loop.pool.workers())
    assert [each.queued for each in loop.of(WorkerDied)] == [(f"{2:011x}-{0:010x}",)]


def test_then_it_is_not(run, monkeypatch):
    monkeypatch.setattr(process, "GRACE_SECONDS", 0.3)
    source = """
import signal, time
def process(item):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    item.progress(1)
    time.sleep(1000)
"""
    loop = run(source)
    id_ = loop.send("a")
    worker = loop.take(Progressed).worker

    loop.pool.kill(worker)
    loop.pool.kill(99999999)

    died = loop.take(WorkerDied)
    assert (died.id, died.how, died.interrupted) == (id_, "interrupted", True)
    loop.ready()
    assert not lives(worker)


def test_a_worker_that_does_not_end_is_ended(run, monkeypatch):
    monkeypatch.setattr(process, "LEAVE_SECONDS", 0.3)
    source = """
import threading, time
def process(item):
    threading.Thread(target=time.sleep, args=(1000,)).start()
"""
    loop = run(source)
    loop.send("a")
    loop.take(Finished)

    loop.pool.stop()

    loop.until(lambda: not loop.pool.workers())
    assert loop.of(WorkerDied) == []


def test_closing_ends_everything_and_tells_what_ran(run):
    loop = run(WAIT)
    first, second = loop.send("a", "b")
    worker = loop.take(Began).worker

    (died,) = loop.pool.close()

    assert (died.id, died.queued, died.interrupted) == (first, (second,), True)
    assert not lives(worker)


def test_the_daemons_other_children_are_spared(loop):
    other = subprocess.Popen(["sleep", "1000"])
    made = loop("import os\ndef process(item): os._exit(1)")
    made.pool = Pool(made.launch(), 1, made.watch, spare=lambda: [other.pid])
    made.pool.start()
    made.ready()
    made.send("a")
    made.take(WorkerDied)
    made.pool.close()

    assert other.poll() is None
    other.kill()
    other.wait()


def test_who_does_not_die_at_once_is_looked_at_later(run, monkeypatch):
    loop = run("import os\ndef process(item): os._exit(1)")
    stubborn = iter([{1}] * 25)
    kill_once = orphans.kill_once
    monkeypatch.setattr(
        orphans, "kill_once", lambda spare: next(stubborn, None) or kill_once(spare)
    )
    loop.send("a")
    loop.take(WorkerDied)
    assert loop.pool.due() is not None

    loop.until(lambda: next(stubborn, None) is None)
    loop.ready()


def test_a_descriptor_that_is_no_longer_ours_is_nothing(run):
    assert run().pool.ready(9999, pool.READ) == []


DAEMON = """
import selectors, sys
from pathlib import Path
from resumed.launch import Launch
from resumed.pool import Pool
from resumed.settings import Command, PythonHandler
from resumed.wire import Assignment
folder, kind = Path(sys.argv[1]), sys.argv[2]
selector = selectors.DefaultSelector()
def watch(fd, events):
    if fd in selector.get_map():
        selector.unregister(fd)
    if events:
        selector.register(fd, events)
script = "setsid sleep 1000 & echo $! > $0/pid; wait"
handler = {
    "command": Command(("sh", "-c", script, str(folder))),
    "python": PythonHandler("handler", "process"),
}[kind]
pool = Pool(Launch(handler, folder, folder, folder / "marks"), 1, watch)
pool.start()
sent = False
while True:
    for key, events in selector.select():
        pool.ready(key.fd, events)
    for worker in pool.room() if not sent else ():
        sent = True
        pool.assign(worker, [Assignment("1-a", "a", str(folder), 7, "k", str(folder / "work"))])
        print(worker, flush=True)
"""
HANDLERS = {
    "command": "",
    "python": (
        "import subprocess\ndef process(item):\n"
        " script = 'setsid sleep 1000 & echo $! > pid; wait'\n"
        " subprocess.run(['sh', '-c', script], cwd=item.path)\n"
    ),
    "deaf": (
        "import ctypes\ndef process(item):\n"
        " item.path.joinpath('pid').write_text('1')\n"
        " ctypes.PyDLL(None).sleep(1000)\n"
    ),
}


@pytest.fixture
def daemon(tmp_path):
    """Run a pool in a process of its own until its item runs; name its worker and a child."""
    daemons = []

    def started(kind):
        (tmp_path / "handler.py").write_text(HANDLERS[kind])
        kind = "python" if kind == "deaf" else kind
        daemon = subprocess.Popen(
            [sys.executable, "-c", DAEMON, tmp_path, kind], stdout=subprocess.PIPE, text=True
        )
        daemons.append(daemon)
        worker = int(daemon.stdout.readline())
        pid = tmp_path / "pid"
        wait_until(lambda: pid.exists() and pid.read_text().strip())
        return daemon, worker, int(pid.read_text())

    yield started
    for each in daemons:
        each.kill()
        each.wait()
        each.stdout.close()


def wait_until(condition, seconds=SECONDS):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.005)


@pytest.mark.parametrize("kind", ["command", "python"])
def test_a_daemon_that_is_killed_leaves_nobody_behind(daemon, kind):
    orphans.adopt()
    process, worker, child = daemon(kind)

    process.kill()
    process.wait()

    wait_until(lambda: not lives(child))
    orphans.kill_all()
    assert not lives(worker)


def test_a_worker_that_cannot_notice_is_ended_by_the_next_daemon(daemon, tmp_path):
    orphans.adopt()
    process, worker, _ = daemon("deaf")
    process.kill()
    process.wait()
    assert lives(worker)

    marks = pool.end_leftovers(tmp_path / "marks")

    assert [(each.id, each.attempt, each.pid) for each in marks] == [("1-a", 7, worker)]
    orphans.kill_all()
    assert not lives(worker)


def test_without_marks_nobody_is_left_over(tmp_path):
    assert pool.end_leftovers(tmp_path / "none") == []


@pytest.mark.parametrize(
    "frame",
    [
        {"how": "returned"},
        {"how": "raised", "kinds": "x", "text": "y", "errno": None},
        {"how": "exited", "status": "1"},
        {"how": "?"},
        {},
    ],
)
def test_an_end_that_is_none_is_nonsense(frame):
    with pytest.raises(NonsenseError):
        report.end(frame, 0.0)
