"""Run one peer over a folder of files: peer.py NAME INBOX STATE.

Each enqueues all names, then reads each file in one worker of its own and notes it as done,
durably, as far as the peer can: huey with fsync and a stored result, persist-queue with
auto_commit and an acknowledgement.
"""

import json
import os
import sys
import time


def huey(inbox: str, state: str) -> int:
    """Enqueue and execute in this process, results stored; SQLite with fsync."""
    from huey import SqliteHuey

    queue = SqliteHuey(filename=f"{state}/huey.db", fsync=True)

    @queue.task()
    def process(path: str) -> int:
        with open(path, "rb") as file:
            return len(file.read())

    names = sorted(os.listdir(inbox))
    for name in names:
        process(f"{inbox}/{name}")
    while (task := queue.dequeue()) is not None:
        queue.execute(task)
    return len(names)


def persist_queue(inbox: str, state: str) -> int:
    """Put all, then get, read and acknowledge each."""
    from persistqueue import SQLiteAckQueue

    queue = SQLiteAckQueue(state, auto_commit=True)
    names = sorted(os.listdir(inbox))
    for name in names:
        queue.put(f"{inbox}/{name}")
    for _ in names:
        path = queue.get()
        with open(path, "rb") as file:
            file.read()
        queue.ack(path)
    return len(names)


if __name__ == "__main__":
    _, peer, inbox, state = sys.argv
    os.makedirs(state)
    started = time.perf_counter()
    items = globals()[peer.replace("-", "_")](inbox, state)
    seconds = time.perf_counter() - started
    print(json.dumps({"items": items, "seconds": seconds, "rate": items / seconds}))
