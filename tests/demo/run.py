"""Tell the whole story with the real programs: drop, kill, start again, look.

Everything happens in one folder (`demo/` in the tree, or the argument). The
daemon is a process of its own, found beside this interpreter, and the kill is a SIGKILL. The
second half, about one file of many records, is in `job`.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import job
from play import daemon, prepare, say, show

HERE = Path(__file__).parent
DONE_BEFORE_THE_KILL = 4


def main(home: Path) -> None:
    """Run the demo in *home*, which is emptied first."""
    prepare(home, HERE)
    photos = sorted((HERE / "photos").glob("*.jpg"))
    expected = len(photos) + 2
    with catalogue(home / "catalogue.log") as address:
        environment = os.environ | {"CATALOGUE": address}
        say(f"A catalogue of photographs answers at {address}; it refuses some requests with 503.")

        say("The daemon starts.")
        with daemon(home, environment) as running:
            say(f"{expected} files are dropped while it runs; one is cut short, one is poison.")
            drop_all(home / "inbox", photos)
            running.wait_until(lambda: ended(home) >= DONE_BEFORE_THE_KILL)
            running.end(signal.SIGKILL)
        left = sum(1 for _ in (home / "active").glob("*/*.jpg"))
        waiting = sum(1 for _ in (home / "inbox").iterdir())
        say(
            f"SIGKILL: the daemon is dead, with {ended(home)} files done or failed, "
            f"{left} in its hands and {waiting} in the inbox."
        )

        say("The daemon starts again and goes on where it stopped.")
        with daemon(home, environment) as running:
            running.wait_until(lambda: ended(home) == expected)
            show(home, "status")
            running.end(signal.SIGTERM)
    show(home, "failures")
    show(home, "export")
    tell_searches(home)
    tell_pictures(home)
    job.main(home / "records")


@contextmanager
def catalogue(log: Path) -> Iterator[str]:
    """Run the demo's HTTP service; its requests go to *log*."""
    command = [sys.executable, "-u", str(HERE / "catalogue.py")]
    with log.open("w") as out:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=out, text=True
        )
    try:
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()


def drop_all(inbox: Path, photos: list[Path]) -> None:
    """Copy the photographs in, one of them cut short and one under a name that kills."""
    for photo in photos:
        shutil.copyfile(photo, inbox / photo.name)
    whole = photos[0].read_bytes()
    (inbox / "truncated.jpg").write_bytes(whole[: len(whole) // 3])
    shutil.copyfile(photos[-1], inbox / "poison.jpg")


def ended(home: Path) -> int:
    """Count the photographs that were put away."""
    return sum(1 for state in ("done", "failed") for _ in (home / state).glob("*.jpg"))


def tell_searches(home: Path) -> None:
    """Compare what the catalogue was asked with what was needed."""
    lines = (home / "catalogue.log").read_text().splitlines()
    answers = Counter(line.split()[1] for line in lines if line.startswith("200"))
    refused = sum(1 for line in lines if line.startswith("503"))
    twice = sum(1 for times in answers.values() if times > 1)
    say(
        f"The catalogue answered about {len(answers)} photographs and refused {refused} times; "
        f"{twice} were looked up again, because the kill fell between answer and record."
    )


def tell_pictures(home: Path) -> None:
    """Name the folder with the pictures."""
    pictures = sorted(each.name for each in (home / "out").iterdir())
    say(f"{len(pictures)} watermarked pictures are in {home / 'out'}:")
    for first in range(0, len(pictures), 4):
        print("    " + "  ".join(f"{name:24}" for name in pictures[first : first + 4]))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo").resolve())
