"""Listen at a folder and log when each file was heard of: listener.py raw|watchdog FOLDER LOG."""

import ctypes
import os
import struct
import sys
import time

IN_CLOSE_WRITE, IN_MOVED_TO = 0x8, 0x80


def log_to(path: str):
    """Return what writes a name and the time."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    seen = set()

    def log(name: str) -> None:
        now = time.monotonic_ns()
        if not name.startswith(".") and name not in seen:
            seen.add(name)
            os.write(fd, f"{name} {now}\n".encode())

    return log


def raw(folder: str, log) -> None:
    """Read the kernel's events, and nothing else."""
    libc = ctypes.CDLL(None)
    fd = libc.inotify_init1(os.O_CLOEXEC)
    libc.inotify_add_watch(fd, os.fsencode(folder), IN_CLOSE_WRITE | IN_MOVED_TO)
    print("ready", flush=True)
    while True:
        events = os.read(fd, 65536)
        while events:
            length = struct.unpack_from("=iIII", events)[3]
            log(events[16 : 16 + length].rstrip(b"\0").decode())
            events = events[16 + length :]


def watchdog(folder: str, log) -> None:
    """Let watchdog call back, asked for no more than is needed."""
    from watchdog.events import FileClosedEvent, FileMovedEvent, FileSystemEventHandler
    from watchdog.observers import Observer

    class Handler(FileSystemEventHandler):
        def dispatch(self, event) -> None:
            log(os.path.basename(getattr(event, "dest_path", "") or event.src_path))

    observer = Observer()
    observer.schedule(Handler(), folder, event_filter=[FileClosedEvent, FileMovedEvent])
    observer.start()
    print("ready", flush=True)
    while True:
        time.sleep(60)


if __name__ == "__main__":
    globals()[sys.argv[1]](sys.argv[2], log_to(sys.argv[3]))
