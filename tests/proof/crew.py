"""Play cases in some processes, each forked once; whoever hangs is killed, and that is told.

There is nothing between parent and child but two pipes: no threads and no locks, which a kill
in the wrong moment would leave closed. A worker asks for the next case when it is done with one.
"""

# ruff: noqa: PLR0913 - a pool has many knobs

import os
import pickle
import select
import signal
import time
import traceback
from dataclasses import dataclass, field

import stage

LIMIT_SECONDS = 60.0
HANGS = "the run hangs: refused"
_WORD = 8


@dataclass
class Worker:
    """One process; *case* is what it has in hand, *since* when."""

    pid: int
    work: int
    answers: int
    case: object = None
    since: float = 0.0
    heard: bytearray = field(default_factory=bytearray)


def play(cases, judge, *, processes=2, until=None, prepare=None, limit_seconds=LIMIT_SECONDS):
    """Yield (case, what *judge* made of its number and it, or None for one that hung).

    It ends at the moment *until*, but never before each process has judged a case: a sweep
    that was late from the start would prove nothing.
    """
    numbered = enumerate(cases)
    workers, judged = [], 0
    try:
        for _ in range(processes):
            workers.append(_start(judge, prepare, workers))
            _give(workers[-1], numbered)
        while any(each.case is not None for each in workers):
            for worker in _ready(workers, until):
                case = worker.case
                for answer in _answers(worker):
                    judged += 1
                    yield case, answer
                    _give(worker, numbered)
            if until is not None and judged >= processes and time.monotonic() > until:
                return
            for each in [each for each in workers if each.case is not None]:
                if time.monotonic() - each.since > limit_seconds:
                    case = each.case
                    workers.remove(each)
                    _end(each)
                    workers.append(_start(judge, prepare, workers))
                    _give(workers[-1], numbered)
                    yield case, None
    finally:
        for each in workers:
            _end(each)


def _ready(workers, until):
    busy = {each.answers: each for each in workers if each.case is not None}
    rest = 1.0 if until is None else max(0.05, min(1.0, until - time.monotonic()))
    return [busy[fd] for fd in select.select(list(busy), [], [], rest)[0]]


def _start(judge, prepare, others):
    work, ours = os.pipe()
    answers, theirs = os.pipe()
    pid = os.fork()
    if pid:
        os.close(work)
        os.close(theirs)
        return Worker(pid, ours, answers)
    stage.die_with_parent()
    for fd in (ours, answers, *(fd for each in others for fd in (each.work, each.answers))):
        os.close(fd)
    try:
        if prepare:
            prepare()
        _serve(judge, work, theirs)
    finally:
        stage.REAL["_exit"](0)


def _serve(judge, work, answers):
    while size := stage.REAL["read"](work, _WORD):
        number, case = pickle.loads(_exactly(work, int(size)))  # noqa: S301 - our own
        try:
            answer = judge(number, case)
        except BaseException:  # noqa: BLE001 - whatever it is, the parent shall show it
            answer = RuntimeError(f"the harness stumbled: {traceback.format_exc()}")
        _send(answers, answer)


def _exactly(fd, size):
    content = b""
    while len(content) < size:
        content += stage.REAL["read"](fd, size - len(content))
    return content


def _send(fd, value):
    content = pickle.dumps(value)
    content = b"%8d%b" % (len(content), content)
    while content:
        content = content[stage.REAL["write"](fd, content) :]


def _give(worker, numbered):
    worker.case = None
    for number, case in numbered:
        worker.case, worker.since = case, time.monotonic()
        _send(worker.work, (number, case))
        return


def _answers(worker):
    chunk = os.read(worker.answers, 1 << 16)
    if not chunk:
        raise RuntimeError(f"a process of the harness died over {worker.case}")
    worker.heard += chunk
    if len(worker.heard) >= _WORD and len(worker.heard) >= _WORD + int(worker.heard[:_WORD]):
        content = bytes(worker.heard[_WORD:])
        worker.heard.clear()
        answer = pickle.loads(content)  # noqa: S301 - our own
        if isinstance(answer, Exception):
            raise answer
        yield answer


def _end(worker):
    os.kill(worker.pid, signal.SIGKILL)
    os.waitpid(worker.pid, 0)
    os.close(worker.work)
    os.close(worker.answers)
