"""Set the scene: a home with a past, and the daemon's drain in a forked child, with faults.

The child runs the package's own loop, ledger, journal and folders. Only the workers are
played (`Inline`), because a fault must come at the same call every time; the sweeps under
strace use real ones. Every call that changes the disk goes through `Faults`, which counts
it, and kills, tears, refuses or records it.
"""

# ruff: noqa: PLR0913, PLR0917, FBT002 - a sweep has many knobs

import errno
import fcntl
import gc
import io
import json
import os
import re
import signal
import sys
import tempfile
import time
import traceback
import zlib
from collections import deque
from pathlib import Path

BASE = "/dev/shm" if os.path.isdir("/dev/shm") else tempfile.gettempdir()  # noqa: S108
KILLED = 137
HUNG = -1
REAL = {
    name: getattr(os, name)
    for name in (
        "write", "fsync", "fdatasync", "rename", "link", "unlink", "mkdir", "rmdir",
        "ftruncate", "open", "symlink", "utime", "chmod", "close", "fork", "_exit", "read",
    )
}  # fmt: skip
CONFIG = """
handler = "handler:process"
settle = "0s"
recursive = true
reserve = "1M"
max_crashes = 50
[retry]
max_attempts = 3
initial = "1h"
jitter = "0s"
[job]
match = ["*.jsonl"]
id = "id"
reduce = "handler:reduce"
"""
HANDLER = """
import os
import resumed

LOG = os.open(os.environ["PROOF_EFFECTS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def note(*words):
    os.write(LOG, (" ".join(words) + "\\n").encode())


def work(token, step):
    note("work", token, step)
    return step


def process(item):
    token = item.part_id or item.path.read_text().strip()
    note("begin", token, item.id, str(item.attempt), item.key)
    if token.startswith(("wait", "hold")):
        raise resumed.TransientError("later")
    if token.startswith("bad") or (token.startswith("mend") and item.attempt == 1):
        raise resumed.PermanentError("no")
    for step in ("one", "two"):
        item.step(step, work, token, step)
        note("kept", token, step)
    note("end", token)
    return {"token": token}


def reduce(job):
    token = "reduce-" + job.name
    note("begin", token, job.id, str(job.attempt), job.key)
    note("end", token, *(part for part, _ in job.results()))
"""


def behave(token, attempt):
    """Do what HANDLER does, as a generator of steps; return the result or raise."""
    if token.startswith(("wait", "hold")):
        raise OSError("transient")
    if token.startswith("bad") or (token.startswith("mend") and attempt == 1):
        raise ValueError("permanent")
    for step in ("one", "two"):
        note("work", token, step)
        yield step
        note("kept", token, step)
    note("end", token)


_effects = None
_pipes = []


def note(*words):
    """Tell the world outside, which no crash of ours can undo."""
    if _faults is not None:
        _faults.op("effect", *words)
    REAL["write"](_effects, (" ".join(words) + "\n").encode())


class Inline:
    """Stand where the pool of workers stands, in the same process; one item at a time."""

    def __init__(self, _launch, _size, watch, **_):
        self.watch = watch
        self.loaded = False
        self.queue = deque()
        self.running = None

    def start(self):
        reader, writer = os.pipe()  # readable for ever: there may always be something to hear
        _pipes.extend((reader, writer))
        REAL["write"](writer, b"x")
        self.watch(reader, 1)

    def workers(self):
        return {1: self.running and self.running[0].id}

    def room(self):
        return {1: 64 - len(self.queue) - (self.running is not None)}

    def idle(self):
        return self.running is None and not self.queue

    def assign(self, _worker, work):
        from resumed import wire

        for frame in wire.assign(work):  # as a worker gets to see it
            self.queue.extend(wire.assigned(frame))

    def acknowledge(self, _worker, _id, step):
        one, steps, token, _ = self.running
        told("kept", token, step)
        self.running = (one, steps, token, True)

    def recall(self):
        pass

    stop = interrupt = recall

    def reload(self, _launch, _size):
        pass

    def close(self):
        return []

    def due(self):
        return None

    def tick(self, _now):
        return []

    def ready(self, _fd, _events):
        from resumed.report import Loaded

        if not self.loaded:
            self.loaded = True
            return [Loaded(1)]
        return self._step()

    def _step(self):
        from resumed.report import Absent, Began, Finished

        if self.running is None:
            if not self.queue:
                return []
            one = self.queue.popleft()
            try:
                token, steps = _steps(one)
            except OSError as error:
                return [Finished(1, one.id, Absent(str(error)), b"", False)]
            owner = one.job if one.reduce else one.id
            note("begin", token, owner, str(one.attempt), one.key)
            self.running = (one, steps, token, True)
            return [Began(1, one.id, one.attempt), *self._next()]
        return self._next()

    def _next(self):
        from resumed.report import Finished, StepTaken
        from resumed.verdict import Raised, Returned

        one, steps, token, free = self.running
        if not free:
            return []
        try:
            step = next(steps)
        except StopIteration:
            self.running = None
            end = Returned({"token": token}, 0.001)
            return [Finished(1, one.id, end, b"", False, _alone(one))]
        except OSError:
            end = Raised(("resumed.errors.TransientError",), "later")
        except ValueError:
            end = Raised(("resumed.errors.PermanentError",), "no")
        else:
            self.running = (one, steps, token, False)
            return [StepTaken(1, one.id, step, step)]
        self.running = None
        return [Finished(1, one.id, end, b"", False, _alone(one))]


def _alone(one):
    """Tell what a worker tells of the folder of its item."""
    return one.job is None and os.listdir(one.lock) == [os.path.basename(one.path)]


def _steps(one):
    """Say what an assignment works on, and how: like `behave`, without recorded steps."""
    if one.reduce:
        with open(one.reduce["results"]) as results:
            parts = [json.loads(line)["part"] for line in results]
        token = f"reduce-{one.name}"
        return token, told_reduce(token, parts)
    if one.part is not None:
        token = one.part_id
    else:
        with open(one.path) as file:
            token = file.read().strip()
    return token, rest(token, one.steps) if one.steps else behave(token, one.attempt)


def told_reduce(token, parts):
    """Be a reduce, of no step; tell what it was given."""
    note("end", token, *parts)
    yield from ()


def rest(token, recorded):
    """Go on behind the recorded steps."""
    for step in ("one", "two"):
        if step not in recorded:
            note("work", token, step)
            yield step
            note("kept", token, step)
    note("end", token)


# ------------------------------------------------------------------ faults


class Faults:
    """Every call that changes the disk below *home* passes here.

    *at* is the number of the call that something happens to: "kill" before it, "short" (a write
    takes *cut* bytes only), "error" (it fails with *number* and does nothing), or "tear": it is
    the number of a write, of which *cut* bytes are done and told of, with the path. Without
    *at*, everything is only written down in *calls*.

    Only calls that change the disk are counted; for a producer's deeds ("listen" writes them
    down) every call into the system is, and those alone before which its file is in the inbox.
    """

    def __init__(
        self, home, at=0, how="kill", cut=0, number=errno.EIO, ops=None, real_syncfs=False
    ):
        self.home = os.path.realpath(home) + "/"
        self.at, self.how, self.cut, self.number = at, how, cut, number
        self.calls, self.writes = [], 0
        self.ops = ops
        self.real_syncfs = real_syncfs
        self.happened = False
        self.after_failed_sync = ()
        self.met = False
        self.late = False
        self.open = []
        self.say = lambda _: None
        self.everywhere = how == "listen" or how in DEEDS
        self.blind = how in ("look", "blind")
        self.looking = False

    def install(self):
        from resumed import durable

        for name in ("fsync", "fdatasync", "ftruncate"):
            setattr(os, name, self._of_fd(name))
        os.write = self._write
        for name in ("unlink", "mkdir", "rmdir"):
            setattr(os, name, self._of_name(name))
        for name in ("rename", "link"):
            setattr(os, name, self._of_two(name))
        os.open = self._open
        os.symlink = self._symlink
        io.open = self._open_stream  # which `Path.open` calls
        real = durable._libc()
        faults = self

        class Libc:
            def renameat2(self, old_fd, old, new_fd, new, flags):
                source, target = faults.path(old, old_fd), faults.path(new, new_fd)
                if source is None and target is None:
                    return real.renameat2(old_fd, old, new_fd, new, flags)
                if faults.enter("renameat2", target):
                    import ctypes

                    ctypes.set_errno(faults.number)
                    return -1
                answer = real.renameat2(old_fd, old, new_fd, new, flags)
                if not answer:
                    faults.op("rename", source, target)
                return answer

            def syncfs(self, fd):
                if faults.enter("syncfs", None):
                    import ctypes

                    ctypes.set_errno(faults.number)
                    return -1
                faults.op("syncfs")
                return real.syncfs(fd) if faults.real_syncfs else 0

        libc = Libc()
        durable._libc = lambda: libc
        self._look()

    def _look(self):
        """Mind the calls that only look at something, too."""
        if self.everywhere:
            sys.setprofile(self._hear)
        if self.blind:
            for name in LOOKS:
                module = fcntl if name in ("fcntl", "flock") else os
                setattr(module, name, self._of_look(getattr(module, name), name))

    def _hear(self, frame, event, function):
        """Count a call into the system, before it, if a producer could meet its file now."""
        if event != "c_call" or getattr(function, "__module__", "") not in ("posix", "fcntl"):
            return
        name = function.__name__
        ours = frame.f_code.co_filename == __file__ and name not in REAL
        if not ours and name != "fspath" and not name.startswith("_"):
            self._pass(name, frame)

    def _pass(self, name, frame):
        while frame.f_code.co_filename == __file__:  # what this file puts in a call's place
            frame = frame.f_back
        if os.path.lexists(self.home + "inbox/new1"):
            where = f"{Path(frame.f_code.co_filename).stem}.{frame.f_code.co_name}"
            self._count(name, f"{where}:{frame.f_lineno}", 0)

    def path(self, name, dir_fd=None):
        """Say which path below the home is meant, or None."""
        name = os.fsdecode(name)
        if not name.startswith("/"):
            base = os.readlink(f"/proc/self/fd/{dir_fd}") if dir_fd is not None else os.getcwd()
            name = f"{base}/{name}"
        return name[len(self.home) :] if name.startswith(self.home) else None

    def fd_path(self, fd):
        try:
            return self.path(os.readlink(f"/proc/self/fd/{fd}"))
        except OSError:
            return None

    def enter(self, name, path, size=0):
        """Count a call; return True when it is to fail, or not at all when it is the last."""
        if self.everywhere and name in ("renameat2", "syncfs"):  # by ctypes, of which nobody tells
            self._pass(name, sys._getframe())
        if self.everywhere or self.blind:
            return False
        return self._count(name, path, size)

    def _count(self, name, path, size):
        self.calls.append((name, path, size))
        if self.late:
            self._meddle()
        if len(self.calls) != self.at or self.how == "tear":
            return False
        self.happened = True
        if self.how == "kill":
            REAL["_exit"](KILLED)
        if self.how in DEEDS:
            self._meddle()
        if self.how == "error" and "sync" in name:
            self.ops = []  # what is told from now on is told on the word of a liar
            self.after_failed_sync = self.ops
        return self.how in ("error", "blind")

    def _meddle(self):
        """Do the producer's deed, or do it before the next call if it meets our lease.

        A real producer is another process: its open waits until we drop the lease, and goes on
        then. Here it would keep us from that call itself. It is put off once only, so that a
        lease which outlives its call makes the run hang.
        """
        try:
            self.met = meddle(Path(self.home, "inbox"), self.how, self.open, wait=self.late)
        except BlockingIOError:
            self.late = True
        else:
            self.late = False
            note("meddled", self.how)
        self.happened = not self.late

    def report(self):
        """Tell to which call the fault happened, where, and what was told after a failed sync.

        Of a producer's deed it is told whether it met a file.
        """
        told = [each[1:] for each in self.after_failed_sync if each[0] == "told"]
        call, path, _ = self.calls[self.at - 1] if self.happened else ("", "", 0)
        return call, path or "", told, self.met

    def op(self, *words):
        if self.ops is not None:
            self.ops.append(words)

    def refuse(self, path):
        raise OSError(self.number, os.strerror(self.number), path)

    def _of_look(self, real, name):
        def call(about, *arguments, dir_fd=None, **keywords):
            if dir_fd is not None:
                keywords["dir_fd"] = dir_fd
            if not self.looking:
                self.looking = True
                by_fd = isinstance(about, int)
                path = self.fd_path(about) if by_fd else self.path(about, dir_fd)
                self.looking = False
                if path is not None and self._count(name, path, 0):
                    self.refuse(path)
            return real(about, *arguments, **keywords)

        return call

    def _of_fd(self, name):
        def call(fd, *arguments):
            path = self.fd_path(fd)
            if path is None:
                return REAL[name](fd, *arguments)
            if self.enter(name, path):
                self.refuse(path)
            result = REAL[name](fd, *arguments)
            self.op(name, os.fstat(fd).st_ino, *arguments)
            return result

        return call

    def _write(self, fd, content):
        path = self.fd_path(fd)
        if path is None:
            return REAL["write"](fd, content)
        if self.enter("write", path, len(content)):
            self.refuse(path)
        self.writes += 1
        if self.how == "tear" and self.writes == self.at:
            self.say([path, REAL["write"](fd, bytes(content)[: self.cut])])
            REAL["_exit"](KILLED)
        if self.how == "short" and self.happened and len(self.calls) == self.at:
            done = REAL["write"](fd, bytes(content)[: self.cut])
            self.op("write", os.fstat(fd).st_ino, os.lseek(fd, 0, 1) - done, bytes(content)[:done])
            return done
        done = REAL["write"](fd, content)
        at = os.lseek(fd, 0, os.SEEK_CUR) - done
        self.op("write", os.fstat(fd).st_ino, at, bytes(content)[:done])
        return done

    def _of_name(self, name):
        def call(path, *arguments, dir_fd=None, **keywords):
            below = self.path(path, dir_fd)
            if below is None:
                return REAL[name](path, *arguments, dir_fd=dir_fd, **keywords)
            if self.enter(name, below):
                self.refuse(path)
            result = REAL[name](path, *arguments, dir_fd=dir_fd, **keywords)
            inode = (
                os.lstat(path if dir_fd is None else f"/proc/self/fd/{dir_fd}/{path}").st_ino
                if name == "mkdir"
                else 0
            )
            self.op(name, below, inode)
            return result

        return call

    def _of_two(self, name):
        def call(old, new, *, src_dir_fd=None, dst_dir_fd=None, **keywords):
            source, target = self.path(old, src_dir_fd), self.path(new, dst_dir_fd)
            if self.enter(name, target):
                self.refuse(target)
            keywords |= {"src_dir_fd": src_dir_fd, "dst_dir_fd": dst_dir_fd}
            result = REAL[name](old, new, **keywords)
            self.op(name, source, target)
            return result

        return call

    def _symlink(self, target, name, *, dir_fd=None):
        below = self.path(name, dir_fd)
        if self.enter("symlink", below):
            self.refuse(below)
        REAL["symlink"](target, name, dir_fd=dir_fd)
        self.op("symlink", below, target)

    def _open(self, path, flags, mode=0o777, *, dir_fd=None):
        below = self.path(path, dir_fd)
        if below is None or not (flags & os.O_CREAT or self.how == "error"):
            return REAL["open"](path, flags, mode, dir_fd=dir_fd)
        if self.enter("open", below):
            self.refuse(below)
        there = os.path.lexists(self.home + below)
        fd = REAL["open"](path, flags, mode, dir_fd=dir_fd)
        if flags & os.O_CREAT and not there:
            self.op("create", below, os.fstat(fd).st_ino)
        elif flags & os.O_TRUNC:
            self.op("ftruncate", os.fstat(fd).st_ino, 0)
        return fd

    def _open_stream(self, path, mode="r", buffering=-1, *words, **keywords):
        if not isinstance(path, int) and self.path(os.fspath(path)) and mode in ("wb", "ab", "xb"):
            return io.BufferedWriter(_Raw(path, mode), max(buffering, 1 << 12))
        return _open_really(path, mode, buffering, *words, **keywords)


_open_really = io.open


class _Raw(io.RawIOBase):
    """Write to a file by `os.write`, where faults happen, and not in C, where none do."""

    def __init__(self, path, mode):
        how = {"w": os.O_TRUNC, "a": os.O_APPEND, "x": os.O_EXCL}[mode[0]]
        self.fd = os.open(os.fspath(path), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | how, 0o666)

    def writable(self):
        return True

    def fileno(self):
        return self.fd

    def write(self, content):
        return os.write(self.fd, bytes(content))

    def close(self):
        if not self.closed:
            super().close()
            os.close(self.fd)


LOOKS = (
    "stat", "lstat", "fstat", "scandir", "listdir", "read", "pread", "readlink", "statvfs",
    "open", "fcntl", "flock",
)  # fmt: skip
DEEDS = ("deleted", "replaced", "linked", "written to", "opened", "moved")


def meddle(inbox, deed, kept_open, *, wait):
    """Do what a producer may do to one of its files at any moment; tell if it was there.

    Unless it may *wait*, it raises BlockingIOError where an open would wait for a lease.
    """
    path = inbox / "new1"
    there = os.path.lexists(path)
    to_write = os.O_WRONLY | (0 if wait else os.O_NONBLOCK)
    if deed == "replaced":
        fd = REAL["open"](inbox / ".new4.part", os.O_WRONLY | os.O_CREAT)
        REAL["write"](fd, b"new4\n")
        REAL["close"](fd)
        REAL["rename"](inbox / ".new4.part", path)
    elif there and deed == "deleted":
        REAL["unlink"](path)
    elif there and deed == "linked":
        REAL["link"](path, inbox / "link1")
    elif there and deed == "moved":
        REAL["rename"](path, inbox / "moved1")
    elif there and deed == "opened":
        kept_open.append(REAL["open"](path, to_write))
    elif there:
        fd = REAL["open"](path, to_write)
        os.pwrite(fd, b"5\n", 4)
        REAL["close"](fd)
    return there


_faults = None


def told(*words):
    """Note, among the calls, what somebody was told."""
    if _faults is not None:
        _faults.op("told", *words)


# ------------------------------------------------------------------ running


def drain(home, effects, faults=None, plant=None, report=None, timeout=20.0, deed=None):
    """Run one drain in a forked child; return its status (137: killed as planned).

    *plant* is called in the child before anything else, *report* is given the faults after
    a run that was not killed, and what it returns comes back with the status. Another *deed*
    than a drain may be done instead.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        die_with_parent()
        gc.disable()  # it would copy every page that the parent shares with this short life
        status, answer = 99, None
        try:
            become(plant)
            if faults is not None:
                faults.say = lambda answer: REAL["write"](writer, json.dumps(answer).encode())
            status = _play(home, effects, faults, deed or _drain)
            answer = report(faults) if report else None
        except BaseException:  # noqa: BLE001 - whatever it is, it is the child's end
            with open(f"{effects}.trace", "w") as file:
                traceback.print_exc(file=file)
        finally:
            with os.fdopen(writer, "wb") as pipe:
                pipe.write(json.dumps(answer, default=_plain).encode())
            REAL["_exit"](status)
    os.close(writer)
    return _watch(child, reader, timeout)


def die_with_parent():
    import ctypes

    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def _plain(value):
    return value.decode("latin-1")


def _watch(child, reader, timeout):
    """Wait for the child; a child that hangs is killed, and that is a finding."""
    import select

    chunks, until = [], time.monotonic() + timeout
    while True:
        left = until - time.monotonic()
        if left <= 0 or not select.select([reader], [], [], left)[0]:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            os.close(reader)
            return HUNG, None
        chunk = os.read(reader, 1 << 20)
        if not chunk:
            break
        chunks.append(chunk)
    os.close(reader)
    _, status = os.waitpid(child, 0)
    answer = b"".join(chunks)
    return os.waitstatus_to_exitcode(status), json.loads(answer) if answer else None


def become(plant=None):
    """Make this process one that plays drains: no real workers, and a planted bug perhaps.

    The journal of such a run has a few KiB. That a daemon at work, or at its end, rewrites it
    happens here too, because any size is worth it. And one sync covers all that was written,
    as on the usual file systems, although homes are in memory here, which promises nothing.
    """
    from resumed import compaction, filesystem, pool

    compaction.WORTH_BYTES = compaction.AT_REST_BYTES = 0
    filesystem.covers = lambda *_: True
    real_pool = pool.Pool
    for name, module in list(sys.modules.items()):
        if name.startswith("resumed.") and getattr(module, "Pool", None) is real_pool:
            module.Pool = Inline
    if plant:
        plant()


def here(home, effects):
    """Run one drain in this very process, which `become` has prepared; return its status.

    Several times as fast as `drain`; what hangs is for the parent of the process to notice.
    """
    try:
        return _play(home, effects, None, _drain)
    except Exception:  # noqa: BLE001 - any traceback is a finding
        with open(f"{effects}.trace", "w") as file:
            traceback.print_exc(file=file)
        return 99


def _play(home, effects, faults, deed):
    global _effects, _faults
    _effects = REAL["open"](effects, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    null = REAL["open"](f"{effects}.err", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(null, 1)
    os.dup2(null, 2)
    REAL["close"](null)
    _faults = faults
    if faults is not None:
        faults.install()
    try:
        return deed(home)
    finally:
        REAL["close"](_effects)
        while _pipes:
            REAL["close"](_pipes.pop())


def _drain(home):
    from resumed import config
    from resumed.daemon import Daemon
    from resumed.drain import Drain
    from resumed.errors import ResumedError
    from resumed.log import EventLog
    from resumed.notify import Notifier

    class Told(EventLog):
        def event(self, event, /, **fields):
            if event in ("done", "failed", "waiting", "answered"):
                told(event, fields.get("id") or fields.get("request"))
            super().event(event, **fields)

    try:
        settings = config.load(None, home=Path(home))
        log = Told(settings.log, sys.stderr, quiet=True)
        daemon = Daemon(settings, log=log, notifier=Notifier({}), reload=lambda: settings)
        tally = daemon.run(Drain())
    except ResumedError as error:
        os.write(2, f"{type(error).__name__}: {error}\n".encode())
        return error.exit_status
    except OSError as error:
        os.write(2, f"{error!r}\n".encode())
        return 74
    return 1 if tally.failed else 0


def ask_to_retry(name):
    """Make the deed of a `resumed-ctl retry` of an item that failed, with no daemon there."""

    def deed(home):
        from resumed import asking
        from resumed.paths import Paths

        home = Path(home)
        asking.ask(Paths.below(home, home / "state"), "retry", [ids_in(home)[name]])
        return 0

    return deed


def ids_in(home):
    """Return the ids of the items that a home's journal has, by their names."""
    lines = (home / "state" / "journal.jsonl").read_bytes().splitlines()
    records = [json.loads(line) for line in lines]
    return {each["name"]: each["id"] for each in records if each["kind"] == "claimed"}


def preload():
    """Import everything once, so that no child has to."""
    import pythonjsonlogger.json
    import tenacity

    import resumed.asking
    import resumed.cli
    import resumed.daemon
    import resumed.drain
    import resumed.log

    gc.collect()
    gc.freeze()  # so that forked children copy less
    return pythonjsonlogger, tenacity, resumed


# ------------------------------------------------------------------ homes


def make(folder):
    """Make an empty home with the configuration and handler of the proof."""
    home = Path(folder)
    for name in ("inbox", "active", "hold", "done", "failed", "out", "state"):
        (home / name).mkdir(parents=True)
    (home / "resumed.toml").write_text(CONFIG)
    (home / "handler.py").write_text(HANDLER)
    return home


def drop(home, name, token=None):
    """Drop a file, whole, as a good producer does; return its token."""
    token = f"{token or name}\n"
    path = home / "inbox" / name
    path.parent.mkdir(exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_text(token)
    temporary.rename(path)
    return token


def job(*parts):
    """Say what is in a job's file."""
    return "\n".join(json.dumps({"id": each}) for each in parts)


def ask(home, verb, *ids, **options):
    """Put a request as resumed-ctl would."""
    folder = home / "state" / "requests"
    temporary = folder / ".resumed-ask"
    temporary.write_text(json.dumps({"verb": verb, "ids": ids, **options}))
    temporary.rename(folder / f"{verb}-{ids[0]}.request")


class Scene:
    """What lies in a home at some moment, and what the world had seen by then, to be copied."""

    def __init__(self, home, effects):
        self.entries = list(_entries(Path(home)))
        self.effects = Path(effects).read_bytes()

    def copy(self, folder, changed=None):
        """Copy home and effects; records speak of the copies' inodes.

        *changed* are files of which the copy has other bytes.
        """
        folder = Path(folder)
        home, changed, mapping = folder / "home", changed or {}, {}
        folder.mkdir()
        home.mkdir()
        for inode, path, mode, content, times in self.entries:
            target = f"{home}/{path}"
            if isinstance(content, str):
                continue
            if content is None:
                os.mkdir(target, mode)
            else:
                write_file(target, changed.get(path, content), mode)
                os.utime(target, ns=times)
            mapping[inode] = os.lstat(target).st_ino
        for _, path, _, content, _ in self.entries:
            if isinstance(content, str):
                note_origin(f"{home}/{path}", content, mapping)
        renumber(home, mapping)
        write_file(f"{folder}/effects", self.effects, 0o600)
        return home, f"{folder}/effects"

    def content(self, path):
        return next(each[3] for each in self.entries if each[1] == path)


def _entries(home):
    """List (inode, path, mode, content, times), folders before their files.

    A folder has no content, that of a symlink is where it leads to.
    """
    for path in sorted(home.rglob("*")):
        status = path.lstat()
        content = None if path.is_dir() else content_of(path)
        times = (status.st_atime_ns, status.st_mtime_ns)
        yield status.st_ino, str(path.relative_to(home)), status.st_mode & 0o7777, content, times


def content_of(path):
    return os.readlink(path) if os.path.islink(path) else Path(path).read_bytes()


def note_origin(path, target, mapping):
    """Make a symlink of ours, which says an inode and a folder, for a copied file."""
    inode, _, folder = target.partition(":")
    REAL["symlink"](f"{mapping.get(int(inode), inode)}:{folder}", path)


def write_file(path, content, mode):
    fd = REAL["open"](path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    REAL["write"](fd, content)
    REAL["close"](fd)


class Gold:
    """A home with a past, of which any number of copies can be made.

    In it: an item done, one failed for good, one waiting, one held, one failed that is asked
    to be retried; an open job of which a part is done, one failed and one waits, that is asked
    to be retried too; a journal that the next start will rewrite, and that run once more at
    work; and new files in the inbox, one of them a job, one in a subfolder, and one under a name
    that is taken in ``done/``.
    """

    def __init__(self, folder):
        self.folder = folder
        self.home = make(Path(folder) / "gold")
        self.effects = str(Path(folder) / "gold.effects")
        self.tokens = {drop(self.home, name) for name in ("done1", "bad1", "mend1", "wait1")}
        self.tokens.add(drop(self.home, "hold1"))
        self.tokens.add(drop(self.home, "open1.jsonl", job("done7", "mend7", "wait7")))
        self._run(1)
        ids = ids_in(self.home)
        ask(self.home, "hold", ids["hold1"])
        self._run(0)
        self.tokens |= {drop(self.home, name) for name in ("new1", "new2", "bad2", "wait2")}
        self.tokens.add(drop(self.home, "done1", "new3"))
        self.tokens.add(drop(self.home, "sub/new5", "new5"))
        self.tokens.add(drop(self.home, "job1.jsonl", job("new7", "new8")))
        ask(self.home, "retry", ids["mend1"])
        ask(self.home, "retry", ids["open1.jsonl"])
        self.copy = Scene(self.home, self.effects).copy

    def _run(self, expected):
        status, _ = drain(self.home, self.effects)
        if status != expected:
            trace = Path(f"{self.effects}.trace")
            said = Path(f"{self.effects}.err").read_text()
            raise RuntimeError(f"{status}: {said} {trace.read_text() if trace.exists() else ''}")


def renumber(home, mapping):
    """Let the records of a copied home speak of its own inodes; their sums are made anew."""
    for path in [*(home / "state").glob("journal*"), *(home / "state" / "history").glob("*")]:
        content = path.read_bytes()
        changed = renumbered(content, mapping)
        if changed != content:
            times = os.stat(path)
            path.write_bytes(changed)
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


_LINE = re.compile(rb'(\{"n":[^\n\0]*),"crc":"([0-9a-f]{8})"\}\n')
_INODE = re.compile(rb'"inode":(\d+)')


def renumbered(content, mapping):
    """Change inodes in each sound line; a torn or damaged one stays as it is."""

    def seal(found):
        if zlib.crc32(found[1]) != int(found[2], 16):
            return found[0]
        body = _INODE.sub(
            lambda number: b'"inode":%d' % mapping.get(int(number[1]), int(number[1])), found[1]
        )
        return b'%s,"crc":"%08x"}\n' % (body, zlib.crc32(body))

    return _LINE.sub(seal, content)
