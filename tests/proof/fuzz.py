"""Feed nonsense to everything that reads what came from outside, or from a broken disk.

    python tests/proof/fuzz.py [--seconds N] [TARGET ...]

With atheris the nonsense follows the code that it reaches; without, it is random damage to
sound examples. Each target says what is a proper answer to nonsense; an exception is none.
"""

import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import stage
import sweeps

JOURNALS = Path(__file__).parent.parent / "journals"
CRASH_BYTES = 2000


def journal_lines(content):
    """Read a journal, examine it as `journal check` does; it is refused or opened."""
    from resumed import compaction, jobbook, salvage
    from resumed.errors import JournalError

    path = written(content)
    for read in (compaction.replay, jobbook.replay, salvage.examine):
        with suppress(JournalError):
            read(path)


def records(content):
    """Add up sound lines that say anything: the sums are right, the facts are not."""
    from resumed import compaction, jobbook
    from resumed.errors import JournalError

    lines = []
    for number, body in enumerate(content.splitlines(), 1):
        text = body.decode("ascii", "replace").encode("ascii", "replace").strip(b"{}")
        head = b'{"n":%d,"s":0,"g":"00000007","at":"2026-11-22T12:00:00.123Z",' % number
        lines.append(seal(head + text))
    path = written(b"".join(lines))
    for replay in (compaction.replay, jobbook.replay):
        with suppress(JournalError):
            replay(path)


def seal(body):
    import zlib

    return b'%s,"crc":"%08x"}\n' % (body, zlib.crc32(body))


def sidecars(content):
    """Take nonsense for a note, and write a note about nonsense."""
    from resumed import sidecar
    from resumed.model import Failed, Fault
    from resumed.sidecar import Advice

    sidecar.is_sidecar(content)
    sidecar.belongs_to(content, "1a20444699e-47ab3ff404")
    text = content.decode(errors="surrogateescape")
    failed = Failed(1, text or None, Fault(text, text), text, 1763812800.0)
    advice = Advice("resumed-ctl", "/inbox", 5)
    note = sidecar.render(failed, item_id="1-2", kept_as=text, advice=advice)
    if not sidecar.belongs_to(note, "1-2") or re.search(rb"[\x00-\x09\x0b-\x1f\x7f]", note):
        raise AssertionError(note)


def requests(content):
    """Read a request: it is one, or is refused with a reason."""
    from resumed.request import Refused, Request, _parse

    wish = _parse("x.request", 0, content)
    if not isinstance(wish, Request | Refused):
        raise TypeError(wish)
    if isinstance(wish, Request):
        wish.items()


def frames(content):
    """Hear what a broken worker says."""
    from resumed import report, wire

    heard = wire.Frames()
    with suppress(wire.NonsenseError):
        for frame in heard.feed(content):
            report.end(frame, 0.1)


def tables(content):
    """Read a job's file, of lines and as a table: each is a part, or a line that is none."""
    from resumed import tables
    from resumed.records import UnusableError

    path = written(content)
    for name in ("x.jsonl", "x.csv"):
        with suppress(UnusableError):
            lines = tables.reader(lambda: path.open("rb"), name, "id")
            list(lines)
            lines.close()


TARGETS = {
    each.__name__: each for each in (journal_lines, records, sidecars, requests, frames, tables)
}
_place = None


def written(content):
    global _place
    if _place is None:
        _place = Path(tempfile.mkdtemp(dir=stage.BASE)) / "file"
    _place.write_bytes(content)
    return _place


def examples(target):
    """Give sound examples, for the nonsense to be like them."""
    journals = [path.read_bytes() for path in sorted(JOURNALS.glob("*/journal.jsonl"))]
    if target == "journal_lines":
        return journals
    if target == "records":
        bodies = re.compile(rb'"kind":.*(?=,"crc")')
        return [b"\n".join(bodies.findall(each)) for each in journals]
    return {
        "sidecars": [b"resumed: this file failed\n", "a\x1b[0m\u202e\u2028".encode()],
        "requests": [
            json.dumps({"verb": verb, "ids": ["1-2", "1-2#p"], "fresh": True, "all": True}).encode()
            for verb in ("retry", "hold", "pause", "reload")
        ],
        "frames": [
            b'{"say":"ended","id":"1","how":"returned","result":null}\n',
            b'{"say":"ended","id":"1","how":"raised","kinds":["a"],"text":"b","errno":3}\n',
        ],
        "tables": [b'{"id":1,"a":[2]}\n{"id":"x"}\n', b'id,name\r\n1,"a\nb"\r\n'],
    }[target]  # fmt: skip


def damaged(seed, chance):
    """Damage an example at random."""
    content = bytearray(seed)
    for _ in range(chance.randint(1, 8)):
        at = chance.randint(0, len(content))
        what = chance.randint(0, 3)
        if what == 0:
            content[at:at] = chance.randbytes(chance.randint(1, 8))
        elif what == 1:
            del content[at : at + chance.randint(1, 40)]
        elif content and what == 2:
            content[at % len(content)] ^= 1 << chance.randint(0, 7)
        else:
            other = chance.randint(0, len(content))
            content[at:at] = content[other : other + chance.randint(1, 60)]
    return bytes(content)


def by_chance(target, seconds, seed=1):
    """Try without atheris; return how often."""
    chance, until, count = random.Random(seed), time.monotonic() + seconds, 0
    seeds = examples(target.__name__)
    while time.monotonic() < until:
        content = damaged(chance.choice(seeds), chance)
        try:
            target(content)
        except Exception as error:
            raise RuntimeError(f"{error!r} for {content[:CRASH_BYTES]!r}") from error
        count += 1
    return count


def by_atheris(target, seconds, corpus):
    """Hand over to libFuzzer, which ends the process."""
    import atheris

    with atheris.instrument_imports(include=["resumed"]):
        target(b"")
    for number, example in enumerate(examples(target.__name__)):
        (corpus / str(number)).write_bytes(example)
    options = [f"-max_total_time={seconds:.0f}", "-max_len=4096", f"-artifact_prefix={corpus}/"]
    atheris.Setup(
        [sys.argv[0], *options, "-verbosity=0", "-print_final_stats=1", str(corpus)], target
    )
    atheris.Fuzz()


def one(name, seconds, corpus):
    """Try one target in this process, and print how often."""
    target = TARGETS[name]
    if find_spec("atheris"):
        by_atheris(target, seconds, Path(corpus))
    else:
        print(f"number_of_executed_units: {by_chance(target, seconds)}", file=sys.stderr)


def run(folder, seconds, names=()):
    """Try each target for so long, and return the row of all."""
    row = sweeps.Row(f"fuzz, by {'atheris' if find_spec('atheris') else 'chance'}")
    begun = time.monotonic()
    for name in names or TARGETS:
        corpus = tempfile.mkdtemp(dir=folder)
        command = [sys.executable, __file__, "--seconds", str(seconds), "--one", corpus, name]
        ended = subprocess.run(
            command, capture_output=True, text=True, check=False, errors="replace",
            timeout=seconds + 120,
        )  # fmt: skip
        found = re.search(r"number_of_executed_units:\s*(\d+)", ended.stderr)
        count = int(found[1]) if found else 0
        row.cases += count
        row.happened += count
        if ended.returncode or not count:
            row.faults["other"] += 1
            row.examples.setdefault("other", f"{name}: {ended.stderr[-1500:]}")
        shutil.rmtree(corpus, ignore_errors=True)
    row.seconds = time.monotonic() - begun
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--one", metavar="CORPUS", help=argparse.SUPPRESS)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    asked = parser.parse_args()
    if asked.one:
        try:
            one(asked.targets[0], asked.seconds, asked.one)
        finally:
            if _place is not None:
                shutil.rmtree(_place.parent, ignore_errors=True)
        return 0
    folder = tempfile.mkdtemp(prefix="resumed-fuzz-", dir=stage.BASE)
    row = run(folder, asked.seconds, asked.targets)
    shutil.rmtree(folder)
    print(f"{row.cases} inputs, {row.seconds:.0f} s, {row.bad} findings")
    for example in row.examples.values():
        print(example)
    return 1 if row.bad else 0


if __name__ == "__main__":
    os.environ.setdefault("PYTHONHASHSEED", "0")
    sys.exit(main())
