"""The handler of the acceptance tests: an item says in its first line what it does."""

import os
import signal
import socket
import subprocess
import sys
import time

from resumed import PermanentError, TransientError

STATE = os.environ.get("STATE_DIRECTORY", "/var/lib/resumed")
CALLS = os.open(f"{STATE}/calls", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)


def note(*words):
    os.write(CALLS, (" ".join(map(str, words)) + "\n").encode("utf-8", "surrogateescape"))


def process(item):
    """Do what the item says."""
    with open(item.path, encoding="utf-8", errors="replace") as file:
        verb, *rest = file.readline().split() or ["nothing"]
    note("begin", item.id, item.attempt, ascii(item.name))
    answer = ACTS[verb](item, *rest)
    note("end", item.id, item.attempt, ascii(item.name))
    return answer


def nothing(_item):
    return None


def sleep(_item, seconds):
    time.sleep(float(seconds))


def fail(_item):
    raise PermanentError("meant to fail")


def busy(_item):
    raise TransientError("meant to be busy")


def environment(item):
    with open(item.output(item.name + ".environment"), "w") as file:
        file.writelines(f"{key}={value}\n" for key, value in sorted(os.environ.items()))


def credentials(item):
    with open("/proc/self/status") as status, open(item.output("status"), "w") as out:
        out.write(status.read())
    subprocess.run(["cp", "/proc/self/status", item.output("status-of-a-command")], check=True)


def grandchild(_item):
    subprocess.Popen(
        ["setsid", "--fork", "sleep", "4711"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def notify(_item):

    address = os.environ.get("NOTIFY_SOCKET", "/run/systemd/notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        out.sendto(b"STOPPING=1", address)
        out.sendto(b"STATUS=a lie", address)


def shout(_item):
    print("out of the handler")
    print("err of the handler", file=sys.stderr)


def stubborn(_item):

    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        time.sleep(1)


def steps(item):
    for step in ("one", "two"):
        item.step(step, note, "step", item.id, step)
        time.sleep(0.05)


ACTS = {name: value for name, value in globals().items() if callable(value)}
