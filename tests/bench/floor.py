"""Be the bare loop that "durable per item" is thought to cost: list, read, append, sync.

    floor.py FOLDER JOURNAL [GROUP [LINES]]

One process, no watching, no workers, no retries, no moves: each file of FOLDER is read, LINES
lines of 200 bytes are appended for it to JOURNAL, and each is synced, or every GROUP files.
"""

import json
import os
import sys
import time


def line(name: str, step: int) -> bytes:
    """Make a line of 200 bytes, as cheaply as Python can."""
    text = f'{{"id":"{name}","state":"done","step":{step},"ts":1763800000.123,"pad":"'
    return (text + "x" * (197 - len(text)) + '"}\n').encode()


def floor(folder: str, journal: str, group: int = 1, lines: int = 1) -> dict:
    """Run the loop and say what it took."""
    started, cpu = time.perf_counter(), time.process_time()
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries)
    fd = os.open(journal, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)
    for number, name in enumerate(names, start=1):
        file = os.open(f"{folder}/{name}", os.O_RDONLY)
        os.read(file, 65536)
        os.close(file)
        for step in range(lines):
            os.write(fd, line(name, step))
            if number % group == 0:
                os.fdatasync(fd)
    os.fdatasync(fd)
    seconds = time.perf_counter() - started
    spent = time.process_time() - cpu
    return {"items": len(names), "seconds": seconds, "rate": len(names) / seconds, "cpu": spent}


if __name__ == "__main__":
    print(json.dumps(floor(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))))
