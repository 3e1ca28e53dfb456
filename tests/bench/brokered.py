"""Run a task queue on a Redis server of its own over files: brokered.py NAME INBOX STATE.

NAME is rq or dramatiq. The server syncs each write (``appendfsync always``), since nothing less
keeps a task that was acknowledged. Two worker processes have imported all they need before the
clock starts; they read each file. It stops when nothing is queued and both workers have ended.
"""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator

from redis import Redis

QUEUE = "bench"
DONE: list[int] = []


def read(path: str) -> None:
    """Do what the handlers of the others do, and count it."""
    with open(path, "rb") as file:
        DONE.append(len(file.read()))


@contextlib.contextmanager
def server(state: str) -> Iterator[str]:
    """Run a server, and say where it is."""
    address = f"{state}/redis.sock"
    options = ["--port", "0", "--unixsocket", address, "--dir", state, "--save", ""]
    options += ["--appendonly", "yes", "--appendfsync", "always"]
    process = subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL)
    try:
        while not os.path.exists(address):
            time.sleep(0.01)
        yield address
    finally:
        process.terminate()
        process.wait()


class Rq:
    """RQ, by its worker that does not fork for each job: the quickest it has."""

    def __init__(self, address: str) -> None:
        from rq import Queue, SimpleWorker

        self._connection = Redis(unix_socket_path=address)
        self._queue = Queue(QUEUE, connection=self._connection)
        self._worker = SimpleWorker

    def send(self, path: str) -> None:
        self._queue.enqueue("brokered.read", path)

    def work(self) -> None:
        worker = self._worker([self._queue], connection=self._connection)
        worker.work(burst=True, logging_level="ERROR")


class Dramatiq:
    """dramatiq, with one thread in each worker."""

    def __init__(self, address: str) -> None:
        import dramatiq
        from dramatiq.brokers.redis import RedisBroker

        self._broker = RedisBroker(client=Redis(unix_socket_path=address))
        dramatiq.set_broker(self._broker)
        self._read = dramatiq.actor(read, queue_name=QUEUE)
        self._worker = dramatiq.Worker

    def send(self, path: str) -> None:
        self._read.send(path)

    def work(self) -> None:
        worker = self._worker(self._broker, worker_threads=1)
        worker.start()
        self._broker.join(QUEUE, interval=10)
        worker.stop()


PEERS = {"rq": Rq, "dramatiq": Dramatiq}


def work(name: str, address: str) -> None:
    """Be a worker: say so when all is imported, begin at a word."""
    peer = PEERS[name](address)
    print("ready", flush=True)
    sys.stdin.readline()
    peer.work()
    print(len(sys.modules.get("brokered", sys.modules["__main__"]).DONE))


def measure(name: str, inbox: str, state: str) -> None:
    """Queue all files, let two workers do them, print what that took."""
    os.makedirs(state)
    with server(state) as address, contextlib.ExitStack() as stack:
        command = [sys.executable, __file__, name, address]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        workers = [stack.enter_context(subprocess.Popen(command, **pipes)) for _ in range(2)]
        for worker in workers:
            worker.stdout.readline()
        peer = PEERS[name](address)
        started = time.perf_counter()
        names = sorted(os.listdir(inbox))
        for each in names:
            peer.send(f"{inbox}/{each}")
        done = sum(int(worker.communicate("go\n")[0]) for worker in workers)
        seconds = time.perf_counter() - started
    items = len(names)
    if done != items:
        raise SystemExit(f"{name} did {done} of {items} items")
    print(json.dumps({"items": items, "seconds": seconds, "rate": items / seconds}))


if __name__ == "__main__":
    (measure if len(sys.argv) > 3 else work)(*sys.argv[1:])
