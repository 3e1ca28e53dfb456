"""What a worker says is tested over its pipes, by hand: no pool stands between."""

import contextlib
import fcntl
import json
import os
import select
import signal
import time
from pathlib import Path

import pytest

from resumed import launch, mark, orphans, wire
from resumed.launch import Launch
from resumed.settings import Command, PythonHandler, Step
from resumed.wire import Assignment

SECONDS = 30
HANDLER = PythonHandler("handler", "process")
WAIT_FOR_GO = """
import time
def process(item):
    while not item.path.with_name("go").exists():
        time.sleep(0.01)
"""
LEAVE_A_CHILD = """
import subprocess
kept = subprocess.Popen(["sleep", "1000"])
def process(item):
    script = "setsid sleep 1000 > /dev/null & echo $! | tee pid"
    child = subprocess.check_output(["sh", "-c", script], cwd=item.workdir)
    return [kept.pid, int(child)]
"""
WAIT_FOR_A_CHILD = """
import subprocess
def process(item):
    script = "setsid sleep 1000 & echo $! > pid; wait"
    subprocess.run(["sh", "-c", script], cwd=item.path.parent)
"""


class Talk:
    """The daemon's end of one worker's pipes, read and written one frame at a time."""

    def __init__(self, folder, handler, source=""):
        self.folder = folder
        for name in ("config", "out", "active", "marks"):
            (folder / name).mkdir(exist_ok=True)
        (folder / "config/handler.py").write_text(source)
        what = Launch(handler, folder / "config", folder / "out", folder / "marks")
        self.pipes = launch.start(folder / "marks/0")
        self.process = self.pipes.process
        self.rest = b""
        self.number = 0
        self.open = {self.pipes.work, self.pipes.control, self.pipes.report}
        self.open |= {self.pipes.output, self.pipes.ending}
        self.tell(what.frame())

    def tell(self, frame):
        os.set_blocking(self.pipes.work, True)
        os.write(self.pipes.work, wire.encode(frame))

    def command(self, byte):
        os.write(self.pipes.control, byte)

    def send(self, name="a.jpg", **particulars):
        """Send an item with a file of its own, and return its id."""
        self.number += 1
        id_ = f"{self.number:011x}-{0:010x}"
        folder = self.folder / "active" / id_
        folder.mkdir()
        (folder / "file").write_text("content")
        values = {
            "id": id_,
            "name": name,
            "path": str(folder / "file"),
            "attempt": 1,
            "key": id_,
            "scratch": f"{folder}.work",
            "lock": str(folder),
        } | particulars
        self.tell(*wire.assign([Assignment(**values)]))
        return id_

    def wait_for(self, fd, seconds=SECONDS):
        return bool(select.select([fd], [], [], seconds)[0])

    def hear(self, said=None, *, answer=True):
        """Return the next frame, or the next that says so; what asks for an answer gets it."""
        while True:
            while b"\n" not in self.rest:
                if not self.wait_for(self.pipes.report):
                    pytest.fail(f"silence; {self.output()}")
                piece = os.read(self.pipes.report, 65536)
                if not piece:
                    pytest.fail(f"the worker is gone; {self.output()}")
                self.rest += piece
            line, _, self.rest = self.rest.partition(b"\n")
            frame = json.loads(line)
            if not answer:
                return frame
            if frame.get("wait"):
                self.printed = self.output()
                self.tell({"do": "go"})
            if frame["say"] == "step":
                self.tell({"do": "stepped", "id": frame["id"], "step": frame["step"]})
            if said is None or frame["say"] == said:
                return frame

    def end(self, *names, **particulars):
        """Run one item, and return how it ended."""
        self.send(*names, **particulars)
        return self.hear("ended")

    def output(self):
        found = b""
        with contextlib.suppress(BlockingIOError):
            while piece := os.read(self.pipes.output, 65536):
                found += piece
        return found.decode()

    def hang_up(self, *fds):
        for fd in fds:
            self.open.discard(fd)
            os.close(fd)

    def wait(self):
        if not self.wait_for(self.pipes.ending):
            pytest.fail(f"the worker does not end; {self.output()}")
        return self.process.wait()

    def close(self):
        """Let the worker end by itself, which also lets its coverage be written."""
        if self.pipes.work in self.open:
            self.hang_up(self.pipes.work)
        self.wait_for(self.pipes.ending, 2)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for fd in self.open:
            os.close(fd)
        orphans.kill_all()


@pytest.fixture
def start(tmp_path):
    orphans.adopt()
    talks = []

    def started(handler=HANDLER, source=""):
        talks.append(Talk(tmp_path, handler, source))
        return talks[-1]

    yield started
    for talk in talks:
        talk.close()


@pytest.fixture
def run(start):
    """Start a worker with a handler in Python and wait until it has loaded it."""

    def started(source, handler=HANDLER):
        talk = start(handler, source)
        assert talk.hear() == {"say": "loaded"}
        return talk

    return started


def lives(pid):
    return orphans.born(pid) is not None


def wait_until(condition):
    until = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.005)


def test_an_attempt_begins_and_ends(run):
    talk = run("def process(item): return [item.name, item.path.read_text()]")

    id_ = talk.send("名\udcff")

    assert talk.hear() == {"say": "began", "id": id_, "attempt": 1}
    assert talk.hear() == {
        "say": "ended",
        "id": id_,
        "how": "returned",
        "result": ["名\udcff", "content"],
        "alone": True,
    }


def test_an_end_and_the_next_beginning_are_one_write(run):
    talk = run("import time\ndef process(item): time.sleep(0.2)")
    talk.send()
    talk.send()
    talk.hear("began")

    assert talk.wait_for(talk.pipes.report)
    piece = os.read(talk.pipes.report, 65536)

    assert [json.loads(line)["say"] for line in piece.splitlines()] == ["ended", "began"]


@pytest.mark.parametrize(
    "left",
    [
        "item.path.with_name('more').touch()",
        "item.path.unlink()",
        "item.path.rename(item.path.with_name('other'))",
        "item.workdir.joinpath('kept').touch()",
        "subprocess.Popen(['sleep', '60'])",
    ],
)
def test_an_item_that_leaves_more_than_its_file_is_not_told_to_be_alone(run, left):
    talk = run(f"import subprocess\ndef process(item):\n    {left}")

    assert "alone" not in talk.end()


def test_a_mark_is_left_before_an_attempt_begins(run):
    talk = run("def process(item): item.step('one', int)")
    id_ = talk.send(attempt=4)
    talk.hear("began")
    talk.hear("ended")

    marks = mark.read(talk.folder / "marks/0")

    pid = talk.process.pid
    assert marks == [mark.Mark(1, id_, 4, pid, orphans.born(pid), "one")]


def test_the_lock_is_held_exactly_while_the_attempt_runs(run):
    talk = run(WAIT_FOR_GO)
    id_ = talk.send()
    talk.hear("began")
    folder = talk.folder / "active" / id_
    fd = os.open(folder, os.O_RDONLY)
    with pytest.raises(BlockingIOError):
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    (folder / "go").touch()
    talk.hear("ended")

    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(fd)


def test_an_item_that_somebody_holds_is_not_begun(run):
    talk = run("def process(item): pass")
    talk.tell({"do": "go"})  # an answer that nobody waits for is no harm
    folder = talk.folder / "active/held"
    folder.mkdir()
    fd = os.open(folder, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)

    talk.send(lock=str(folder))

    frame = talk.hear()
    assert (frame["say"], frame["how"]) == ("ended", "busy")
    os.close(fd)


def test_nor_is_one_whose_folder_is_gone(run):
    talk = run("def process(item): pass")

    frame = talk.end(lock="/nowhere/at/all")

    assert frame["how"] == "absent"
    assert "/nowhere/at/all" in frame["text"]


def test_a_part_needs_no_folder_of_its_own(run):
    talk = run("def process(item): return [item.part, item.job]")

    assert talk.end(lock=None, part={"id": 1}, job="j")["result"] == [{"id": 1}, "j"]


def test_a_step_waits_until_it_is_durable(run):
    talk = run("def process(item):\n item.step('a', int)\n item.path.with_name('on').touch()")
    id_ = talk.send()
    talk.hear("began")
    frame = talk.hear(answer=False)
    assert frame == {"say": "step", "id": id_, "step": "a", "result": 0}
    talk.command(wire.RECALL)
    assert talk.hear() == {"say": "gave_back", "ids": []}
    assert not (talk.folder / "active" / id_ / "on").exists()

    talk.tell({"do": "stepped", "id": id_, "step": "a"})

    assert talk.hear("ended")["how"] == "returned"
    assert (talk.folder / "active" / id_ / "on").exists()


def test_what_was_not_begun_is_given_back(run):
    talk = run(WAIT_FOR_GO)
    first, second = talk.send(), talk.send()
    talk.hear("began")
    third = talk.send()

    talk.command(wire.RECALL)

    assert talk.hear() == {"say": "gave_back", "ids": [second, third]}
    (talk.folder / "active" / first / "go").touch()
    assert talk.hear()["id"] == first


def test_an_answer_that_arrives_with_a_recall_is_not_lost(run):
    talk = run("def process(item): return [item.step(str(n), int) for n in range(200)]")
    talk.send()
    talk.hear("began")

    steps = 0
    while steps < 200:
        frame = talk.hear()
        steps += frame["say"] == "step"
        if frame["say"] == "step":
            talk.command(wire.RECALL)

    assert talk.hear("ended")["result"] == [0] * 200


def test_the_end_of_work_lets_it_finish_what_it_has(run):
    talk = run("def process(item): pass")
    talk.send()
    talk.send()
    talk.hang_up(talk.pipes.work)

    said = [talk.hear()["say"] for _ in range(4)]

    assert said == ["began", "ended", "began", "ended"]
    assert talk.wait() == 0


@pytest.mark.parametrize(
    ("source", "kind", "text", "errno"),
    [
        ("raise ValueError('x' * 9999)", "builtins.ValueError", "x" * 4096, None),
        ("raise SystemExit(3)", "builtins.SystemExit", "3", None),
        ("raise KeyboardInterrupt", "builtins.KeyboardInterrupt", "", None),
        ("open('/nowhere')", "builtins.FileNotFoundError", None, 2),
        ("return object()", "resumed.errors.PermanentError", None, None),
        ("return 'x' * 300000", "resumed.errors.PermanentError", None, None),
        ("import resumed; raise resumed.TransientError('later')", None, "later", None),
        (
            "class E(Exception):\n  errno = 'x'\n  def __str__(self): 1/0\n raise E",
            "handler.process.<locals>.E",
            "(an exception that cannot be shown)",
            None,
        ),
        (
            "class E(Exception):\n  errno = property(lambda self: 1/0)\n  __str__ = exit\n raise E",
            "handler.process.<locals>.E",
            "(an exception that cannot be shown)",
            None,
        ),
        ("raise type('E', (Exception,), {'errno': 10**5000})", "handler.E", "", None),
    ],
)
def test_whatever_a_handler_raises_is_a_failure_of_the_item(run, source, kind, text, errno):
    talk = run(f"def process(item):\n if item.attempt == 9: return 9\n {source}")

    frame = talk.end()

    assert frame["how"] == "raised"
    assert kind is None or frame["kinds"][0] == kind
    assert text is None or frame["text"] == text
    assert frame["errno"] == errno
    assert "builtins.BaseException" in frame["kinds"]
    assert talk.end(attempt=9)["result"] == 9


def test_a_failure_names_its_step(run):
    talk = run("def process(item): item.step('search', int, 'x')")

    assert talk.end()["step"] == "search"


def test_the_traceback_begins_in_the_handlers_own_code(run):
    talk = run("def process(item):\n  print(item.name)\n  raise ValueError")

    talk.end("a.jpg")

    lines = talk.printed.splitlines()
    assert lines[0] == "a.jpg"
    assert 'handler.py", line 3' in lines[2]
    assert "resumed/worker.py" not in talk.printed


def test_what_was_printed_is_read_before_the_next_item_begins(run):
    talk = run("import os\ndef process(item): os.write(2, item.name.encode())")
    talk.send("first")
    talk.send("second")
    talk.hear("began")
    frame = talk.hear(answer=False)

    assert frame["wait"]
    assert not talk.wait_for(talk.pipes.report, 0.2)
    assert talk.output() == "first"

    talk.tell({"do": "go"})
    assert talk.hear()["say"] == "began"


@pytest.mark.parametrize(
    "damage",
    [
        "os.close(0); os.close(1); os.close(2)",
        "sys.stdout.close(); sys.stderr.close()",
        "sys.stdout = sys.stderr = open('/dev/null', 'w'); sys.__stdout__ = None",
        "os.chdir('/'); os.dup2(os.open('/dev/null', 1), 1)",
        "signal.alarm(1)",
        "sys.stdin = None; sys.stderr = None",
        "sys.stdout = io.TextIOWrapper(sys.stdout.buffer)",
        "sys.stdout = io.TextIOWrapper(sys.stdout.detach())",
        "sys.stderr.buffer.detach()",
        "del sys.stdout, sys.__stderr__",
        "sys.stdout = type('Mute', (), {'flush': lambda self: 1 / 0})()",
    ],
)
def test_the_next_item_finds_everything_as_it_should_be(run, damage):
    talk = run(
        "import io, os, signal, sys, warnings\nwarnings.simplefilter('ignore')\n"
        f"def process(item):\n if item.attempt == 1:\n  {damage}\n  return\n"
        " print('out', flush=True); print('err', file=sys.stderr)\n"
        " return [os.getcwd(), os.readlink('/proc/self/fd/0'), signal.alarm(0)]"
    )
    talk.end()

    frame = talk.end(attempt=2)

    assert frame["result"] == [str(talk.folder / "config"), "/dev/null", 0]
    assert talk.printed == "out\nerr\n"


@pytest.mark.parametrize(
    "wrapping",
    [
        "io.TextIOWrapper(sys.stdout.buffer, encoding='utf-8')",
        "codecs.getwriter('utf-8')(sys.stdout.detach())",
    ],
)
def test_a_module_may_wrap_what_it_prints_to(run, wrapping):
    talk = run(
        f"import codecs, io, sys\nsys.stdout = {wrapping}\n"
        "def process(item): print('out', flush=True); print('err', file=sys.stderr)"
    )

    assert talk.end()["how"] == "returned"
    assert talk.printed == "out\nerr\n"


def test_what_an_attempt_started_ends_with_it(run):
    talk = run(LEAVE_A_CHILD)

    frame = talk.end()

    kept, child = frame["result"]
    assert not lives(child)
    assert lives(kept)
    assert frame["scratch"]


def test_a_fork_that_comes_back_is_nobodys_worker(run):
    talk = run("import os\ndef process(item): return os.fork() > 0")

    assert talk.end()["result"] is True
    assert talk.end()["result"] is True


def test_a_fork_that_speaks_is_not_heard(run):
    talk = run(
        "import os\ndef process(item):\n pid = os.fork()\n"
        " if not pid: item.step('a', int)\n os.waitpid(pid, 0)\n return 1"
    )

    assert talk.end()["result"] == 1


def test_a_worker_whose_pipes_were_closed_ends(run):
    talk = run("import os\ndef process(item): os.closerange(3, 100)")
    talk.send()

    assert talk.wait() == wire.EXIT_DEAF


def test_a_worker_without_a_free_descriptor_ends_and_blames_no_item(run):
    talk = run(
        "import os, resource, threading, time\n"
        "def hoard():\n"
        " while True:\n"
        "  try: os.open('/dev/null', os.O_RDONLY)\n"
        "  except OSError: time.sleep(0.001)\n"
        "def process(item):\n"
        " resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))\n"
        " threading.Thread(target=hoard, daemon=True).start()\n"
    )
    talk.end()
    wait_until(lambda: len(os.listdir(f"/proc/{talk.process.pid}/fd")) == 64)

    id_ = talk.send()

    assert talk.wait() == wire.EXIT_DEAF
    assert id_.encode() not in os.read(talk.pipes.report, 65536)


def test_progress_is_passed_on(run):
    talk = run("def process(item): item.progress(1, 2)")
    id_ = talk.send()

    assert talk.hear("progress") == {"say": "progress", "id": id_, "done": 1, "total": 2}


def test_a_handler_that_cannot_be_loaded_is_told_and_ends_the_worker(start):
    talk = start(HANDLER, "import no_such_thing")

    frame = talk.hear()

    assert frame["say"] == "load_failed"
    assert "handler.py:1: ModuleNotFoundError" in frame["text"]
    assert talk.wait() == 0


def test_a_stop_is_seen_by_whoever_waits(run):
    talk = run(
        "from resumed import retry\n"
        "@retry(attempts=9, base=100)\n"
        "def flaky(path):\n path.with_name('waiting').touch()\n raise ConnectionError\n"
        "def process(item): flaky(item.path)"
    )
    id_ = talk.send()
    wait_until((talk.folder / "active" / id_ / "waiting").exists)

    talk.command(wire.STOP)

    assert talk.hear("ended")["how"] == "interrupted"


def test_sigterm_interrupts_the_attempt_and_ends_the_worker(run):
    talk = run(
        "import time\ndef process(item):\n try: print('up', flush=True); time.sleep(1000)\n"
        " except Exception: pass\n finally: item.path.with_name('tidied').touch()"
    )
    id_ = talk.send()
    talk.hear("began")
    talk.wait_for(talk.pipes.output)

    talk.process.terminate()

    assert talk.hear("ended")["how"] == "interrupted"
    assert (talk.folder / "active" / id_ / "tidied").exists()
    assert talk.wait() == 0


def test_sigterm_ends_an_idle_worker(run):
    talk = run("def process(item): pass")

    talk.process.terminate()

    assert talk.wait() == 0


def test_sigterm_waits_for_a_step_that_is_being_recorded(run):
    talk = run("def process(item): item.step('a', int); item.step('b', int)")
    id_ = talk.send()
    talk.hear("began")
    assert talk.hear(answer=False)["step"] == "a"

    talk.process.terminate()
    assert not talk.wait_for(talk.pipes.report, 0.2)
    talk.tell({"do": "stepped", "id": id_, "step": "a"})

    assert talk.hear()["how"] == "interrupted"


def test_the_end_of_the_daemon_ends_the_worker_and_all_that_it_started(run):
    talk = run(WAIT_FOR_A_CHILD)
    id_ = talk.send()
    pid = talk.folder / "active" / id_ / "pid"
    wait_until(lambda: pid.exists() and pid.read_text())

    talk.hang_up(talk.pipes.control)

    assert talk.wait() == wire.EXIT_ORPHANED
    assert not lives(int(pid.read_text()))


def test_a_daemon_that_dies_while_the_worker_loads_ends_it(start):
    talk = start(HANDLER, "import time; time.sleep(1000)")

    talk.hang_up(talk.pipes.control)

    assert talk.wait() == wire.EXIT_ORPHANED


def test_one_that_dies_before_it_says_what_to_load_too(tmp_path):
    pipes = launch.start(tmp_path / "0")
    for fd in (pipes.work, pipes.control, pipes.report, pipes.output, pipes.ending):
        os.close(fd)

    assert pipes.process.wait(SECONDS) in (wire.EXIT_ORPHANED, wire.EXIT_DEAF)


@pytest.mark.skipif(
    not os.environ.keys().isdisjoint({"COVERAGE_RUN", "COVERAGE_PROCESS_START"}),
    reason="measuring coverage takes memory",
)
def test_a_worker_is_small(run):
    talk = run("def process(item): return 1")
    talk.end()

    status = Path(f"/proc/{talk.process.pid}/status").read_text()
    modules = Path(f"/proc/{talk.process.pid}/maps").read_text()

    resident = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    assert int(resident.split()[1]) < 25_000
    assert "_ssl" not in modules


# commands


def test_a_command_knows_its_item(run):
    names = "ID NAME PATH KEY ATTEMPT STEP WORKDIR OUT PART JOB"
    script = " ".join(f'"$RESUMED_{name}"' for name in names.split())
    talk = run(
        "", Command(("sh", "-c", f"printf '%s\\n' {script} \"$1\" >&2; pwd >&2", "-", "<{name}>"))
    )

    id_ = talk.end("a b", part={"a": 1}, job="j")["id"]

    folder = str(talk.folder / "active" / id_)
    work = [f"{folder}.work/work", f"{folder}.work/out"]
    expected = [id_, "a b", f"{folder}/file", id_, "1", "", *work, '{"a":1}', "j"]
    assert talk.printed.splitlines() == [*expected, "<a b>", str(talk.folder / "config")]


@pytest.mark.parametrize(
    ("script", "result"),
    [
        ("true", None),
        ("echo '{\"a\": [1, null]}'", {"a": [1, None]}),
        ("echo 3", 3),
        ("echo hello", None),
        ("echo NaN", None),
        ("echo 1 2", None),
        ("head -c 300000 /dev/zero | tr '\\0' 9", None),
        ("head -c 9999 /dev/zero | tr '\\0' [", None),
        ("cat", {"x": 1}),
    ],
)
def test_the_result_of_a_command_is_the_one_value_that_it_prints(run, script, result):
    talk = run("", Command(("sh", "-c", script)))

    frame = talk.end(part={"x": 1}, job="j")

    assert (frame["how"], frame["result"]) == ("returned", result)
    assert "scratch" not in frame


def test_a_part_that_is_too_long_for_a_variable_is_on_standard_input(run):
    talk = run("", Command(("sh", "-c", 'printf "[%s, %s]" "$(wc -c)" "${#RESUMED_PART}"')))

    assert talk.end(part={"x": "y" * 200_000}, job="j")["result"] == [200_009, 0]


@pytest.mark.parametrize("status", [1, 75, 255, -9])
def test_a_command_that_fails_tells_its_status_and_what_it_printed(run, status):
    end = f"exit {status}" if status > 0 else f"kill {status} $$"
    talk = run("", (Step("one", Command(("sh", "-c", f"echo out; echo err >&2; {end}"))),))

    frame = talk.end()

    assert (frame["how"], frame["status"], frame["step"]) == ("exited", status, "one")
    assert talk.printed == "err\nout\n"


def test_a_command_that_is_not_there_is_missing(run):
    frame = run("", Command(("/no/such",))).end()

    assert (frame["how"], frame["text"]) == ("missing", "/no/such: No such file or directory")


def test_what_a_command_leaves_in_out_is_published(run):
    talk = run("", Command(("sh", "-c", 'cp "$RESUMED_PATH" "$RESUMED_OUT/copy"')))

    frame = talk.end()

    assert (talk.folder / "out/copy").read_text() == "content"
    assert frame["scratch"]


def test_what_a_failed_command_leaves_is_not(run):
    talk = run("", Command(("sh", "-c", 'echo half > "$RESUMED_OUT/copy"; exit 1')))

    talk.end()

    assert os.listdir(talk.folder / "out") == []


def test_steps_run_in_order_and_recorded_ones_do_not(run):
    steps = (
        Step("one", Command(("sh", "-c", "echo 1; echo $RESUMED_STEP >&2"))),
        Step("two", PythonHandler("handler", "two")),
        Step("three", Command(("sh", "-c", "echo 3; echo $RESUMED_STEP >&2"))),
    )
    talk = run("def two(item): return item.step('in two', int)", steps)
    talk.send(steps={"one": 1})

    frames = [talk.hear() for _ in range(5)]

    told = [(each["step"], each["result"]) for each in frames[1:4]]
    assert told == [("in two", 0), ("two", 0), ("three", 3)]
    assert frames[4]["result"] == 3
    assert talk.printed == "three\n"


def test_a_command_sees_what_a_function_before_it_put_into_the_environment(run):
    steps = (
        Step("one", PythonHandler("handler", "one")),
        Step("two", Command(("sh", "-c", "echo $FOUND"))),
    )
    talk = run("import os\ndef one(item): os.environ['FOUND'] = '7'", steps)
    talk.send()

    ended = next(frame for frame in iter(talk.hear, None) if frame["say"] == "ended")

    assert ended["result"] == 7


def test_an_orphan_of_a_command_would_still_hold_the_lock(run):
    talk = run("", Command(("sh", "-c", "ls -l /proc/$$/fd >&2; exit 0")))

    id_ = talk.end()["id"]

    assert f"-> {talk.folder}/active/{id_}" in talk.printed


def test_what_a_command_leaves_running_ends_with_the_attempt(run):
    talk = run("", Command(("sh", "-c", "setsid sleep 1000 & echo $!")))

    assert not lives(talk.end()["result"])


def test_sigterm_asks_a_command_to_end(run):
    talk = run(
        "",
        Command(
            (
                "sh",
                "-c",
                "trap 'echo asked >&2; exit 0' TERM; echo up >&2; while :; do sleep 0.05; done",
            )
        ),
    )
    talk.send()
    talk.hear("began")
    talk.wait_for(talk.pipes.output)

    talk.process.terminate()

    assert talk.hear("ended")["how"] == "interrupted"
    assert "asked" in talk.output() + getattr(talk, "printed", "")
