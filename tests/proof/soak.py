"""Let everything happen at once for a while, and judge by what somebody outside has seen.

    python tests/proof/soak.py SECONDS [--seed N]

Real producers (cp, rsync, mv, sftp, a slow writer) drop files and jobs; the daemon is killed,
stopped and frozen; an administrator retries, holds, removes, pauses and moves files by hand; the
handlers fail, hang for a moment and die. Then all is let come to rest, and every file that was
ever dropped must be in one place, whole, or have been removed by the administrator.
"""

import argparse
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from contextlib import suppress
from itertools import islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import oracle
import stage
import sweeps
import workers

SFTP = next(
    filter(os.path.exists, ("/usr/lib/openssh/sftp-server", "/usr/libexec/sftp-server")), ""
)
CONFIG = """
handler = "handler:process"
settle = "100ms"
workers = 3
reserve = 0
max_crashes = 1000
rescan = "2s"
stop_timeout = "1s"
timeout = "10s"
[retry]
max_attempts = 4
initial = "50ms"
max = "500ms"
jitter = "20ms"
[job]
match = ["*.jsonl"]
id = "id"
reduce = "handler:reduce"
"""
HANDLER = """
import fcntl, hashlib, os, random, signal, time
import resumed

HOME = os.path.dirname(os.path.abspath(__file__))
LOG = os.open(os.environ["PROOF_EFFECTS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def note(*words):
    os.write(LOG, (" ".join(words) + "\\n").encode())


def begin(token, item):
    note("begin", token, item.id, str(item.attempt), item.key)
    lock = os.open(f"{HOME}/locks/{token}", os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        note("TWICE", token, "at once")
    return lock


def misbehave():
    if os.path.exists(f"{HOME}/calm"):
        return
    chance = random.random()
    time.sleep(random.random() * 0.03)
    if chance < 0.15:
        raise resumed.TransientError("later")
    if chance < 0.25:
        raise resumed.PermanentError("no luck")
    if chance < 0.28:
        os.kill(os.getpid(), signal.SIGKILL)


def work(token, step):
    note("work", token, step)
    return step


def process(item):
    token = item.part_id or item.name.partition("~")[0]
    lock = begin(token, item)
    try:
        if item.part_id is None:
            content = item.path.read_bytes()
            body, _, digest = content.rpartition(b"\\n")
            if hashlib.sha256(body).hexdigest().encode() != digest:
                note("PARTIAL", token, str(len(content)))
        for step in ("one", "two"):
            item.step(step, work, token, step)
            note("kept", token, step)
            misbehave()
        note("end", token)
    finally:
        os.close(lock)


def reduce(job):
    token = "reduce-" + job.name.partition("~")[0]
    lock = begin(token, job)
    try:
        misbehave()
        note("end", token, *(part for part, _ in job.results()))
    finally:
        os.close(lock)
"""


PLANTED = """
import runpy, sys
sys.path.insert(0, {folder!r})
import planted
planted.BUGS[{bug!r}]()
sys.argv[0] = "resumed"
runpy.run_module("resumed.cli", run_name="__main__", alter_sys=True)
"""


class Soak:
    """One home, everybody who troubles it, and what each of them did."""

    def __init__(self, folder, seed, bug=""):
        self.bug = bug
        self.random = random.Random(seed)
        self.folder = Path(folder)
        self.home = stage.make(self.folder / "home")
        (self.home / "resumed.toml").write_text(CONFIG)
        (self.home / "handler.py").write_text(HANDLER)
        (self.home / "locks").mkdir()
        self.sources = self.folder / "sources"
        self.sources.mkdir()
        self.effects = str(self.folder / "effects")
        Path(self.effects).touch()
        self.dropped, self.taken, self.faults, self.jobs = {}, set(), [], {}
        self.deeds, self.kills, self.known_done = Counter(), 0, []
        self.lock = threading.Lock()
        self.over = threading.Event()
        self.daemon = None

    # the daemon

    def command(self, module, *words):
        home = ["--home", str(self.home)]
        if module == "resumed.ctl":
            return [sys.executable, "-m", module, *home, *words]
        program = ["-m", module]
        if self.bug:
            program = ["-c", PLANTED.format(folder=str(Path(__file__).parent), bug=self.bug)]
        return [sys.executable, *program, words[0], *home, *words[1:]]

    def start(self):
        with open(self.folder / "daemon.log", "ab") as log:
            self.daemon = subprocess.Popen(
                self.command("resumed.cli", "run"),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | {"PROOF_EFFECTS": self.effects},
                start_new_session=True,
            )

    def trouble(self):
        """Kill, stop or freeze the daemon, and start it again."""
        while not self.over.wait(self.random.uniform(0.2, 2.5)):
            how = self.random.choices(["kill", "stop", "freeze"], [7, 2, 1])[0]
            self.deeds[how] += 1
            if how == "freeze":
                self.daemon.send_signal(signal.SIGSTOP)
                time.sleep(self.random.random())
                self.daemon.send_signal(signal.SIGCONT)
                continue
            self.daemon.send_signal(signal.SIGKILL if how == "kill" else signal.SIGTERM)
            status = self.daemon.wait()
            self.kills += status == -signal.SIGKILL
            if status not in (0, -signal.SIGKILL, -signal.SIGTERM):
                self.faults.append(f"refused: the daemon ended with {status}")
            self.note_done()
            self.start()

    def note_done(self):
        """Remember what was recorded done, and how much the world had seen by then."""
        size = os.path.getsize(self.effects)
        state = self.home / "state"
        # Killed between the two renames of a rewriting, it has only the old one; at first, none.
        whole = filter(Path.exists, (state / "journal.jsonl", state / "journal.prev"))
        content = b"".join(path.read_bytes() for path in islice(whole, 1))
        records = [each for each in map(oracle.parse, content.splitlines(keepends=True)) if each]
        done = {each["id"] for each in records if each["kind"] == "done"}
        parts = {
            each["part"] for _, each in oracle.job_records(self.home) if each["kind"] == "done"
        }
        self.known_done.append((size, done, parts))

    # producers

    def produce(self, number):
        chance = random.Random(f"{number} {self.random.random()}")
        turn = 0
        ways = [self.by_mv, self.by_cp, self.by_rsync, self.by_slow_writing, self.by_job]
        ways += [self.by_sftp] if SFTP and shutil.which("sftp") else []
        while not self.over.is_set():
            turn += 1
            name = f"f{number}-{turn}"
            way = chance.choice(ways)
            way(name, chance)
            self.deeds[way.__name__] += 1
            time.sleep(chance.random() * 0.15)

    def source(self, name, chance):
        body = (
            f"{name}\n".encode() + os.urandom(chance.choice([0, 100, 5000, 300_000])).hex().encode()
        )
        content = body + b"\n" + hashlib.sha256(body).hexdigest().encode()
        path = self.sources / name
        path.write_bytes(content)
        self.promise(name, content)
        return path, content

    def promise(self, name, content):
        with self.lock:
            self.dropped[name] = hashlib.sha256(content).hexdigest()

    def call(self, *words, **options):
        subprocess.run(list(map(str, words)), check=True, capture_output=True, **options)

    def by_mv(self, name, chance):
        self.call("mv", self.source(name, chance)[0], self.home / "inbox")

    def by_cp(self, name, chance):
        self.call("cp", self.source(name, chance)[0], self.home / "inbox")

    def by_rsync(self, name, chance):
        self.call("rsync", self.source(name, chance)[0], self.home / "inbox")

    def by_sftp(self, name, chance):
        path, _ = self.source(name, chance)
        batch = f"put {path} {self.home}/inbox/{name}\n".encode()
        self.call("sftp", "-q", "-D", SFTP, "-b", "-", input=batch)

    def by_slow_writing(self, name, chance):
        _, content = self.source(name, chance)
        with open(self.home / "inbox" / name, "wb", buffering=0) as file:
            for at in range(0, len(content), 1 + len(content) // 4):
                file.write(content[at : at + 1 + len(content) // 4])
                time.sleep(0.15)

    def by_job(self, name, chance):
        parts = [f"{name}-p{each}" for each in range(chance.randint(0, 5))]
        content = stage.job(*parts).encode()
        self.jobs[f"{name}.jsonl"] = parts
        self.promise(f"{name}.jsonl", content)
        path = self.sources / f".{name}"
        path.write_bytes(content)
        path.rename(self.home / "inbox" / f"{name}.jsonl")

    # the administrator

    def ctl(self, *words):
        ended = subprocess.run(
            self.command("resumed.ctl", *words),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        if "Traceback" in ended.stderr or ended.returncode not in (0, 1, 2, 3, 4, 75):
            self.faults.append(
                f"refused: ctl {words} ended with {ended.returncode}: {ended.stderr}"
            )
        return ended

    def administer(self):
        while not self.over.wait(self.random.random()):
            with self.lock:
                name = self.random.choice([*self.dropped] or ["nothing"])
            move = self.random.choice(
                [
                    ("retry", "--all"), ("retry", name), ("hold", name), ("release", "--all"),
                    ("remove", "--yes", name), ("pause",), ("unpause",), ("status",), ("ls",),
                    ("why", name), ("reload",), ("journal", "check"), ("jobs", "ls"),
                    ("cancel", name), ("by hand",),
                ]
            )  # fmt: skip
            self.deeds[move[0]] += 1
            if move == ("by hand",):
                self.give_back()
            else:
                self.ctl(*move)
            if move == ("pause",):
                self.ctl("unpause")

    def give_back(self):
        """Move a failed file into the inbox, as people do, over nothing that is there."""
        failed = [each for each in os.listdir(self.home / "failed") if ".failure" not in each]
        for each in failed[:1]:
            with suppress(OSError):
                os.link(self.home / "failed" / each, self.home / "inbox" / each)
                os.unlink(self.home / "failed" / each)

    def guarded(self, deed, *arguments):
        """Go on until the end; who gives up before has troubled nobody since, and that is told."""
        try:
            deed(*arguments)
        except Exception:  # noqa: BLE001 - whatever it is, the row shall show it
            self.faults.append(f"the harness stumbled: {traceback.format_exc()}")

    # the end

    def rest(self):
        """Let everything that can be done be done."""
        (self.home / "calm").touch()
        self.daemon.terminate()
        self.daemon.wait()
        for _ in range(8):
            self.note_done()
            for move in (("unpause",), ("release", "--all"), ("retry", "--all")):
                subprocess.run(self.command("resumed.ctl", *move), capture_output=True, check=False)
            ended = subprocess.run(
                self.command("resumed.cli", "drain", "--wait"),
                capture_output=True,
                text=True,
                check=False,
                timeout=300,
                env=os.environ | {"PROOF_EFFECTS": self.effects},
            )
            if ended.returncode not in sweeps.FINE:
                self.faults.append(f"refused in the end: {ended.returncode} {ended.stderr[-300:]}")
            if not self.unfinished():
                return
        self.faults.append(f"never came to rest: {self.unfinished()[:3]}")

    def unfinished(self):
        """List what is neither done nor removed."""
        places = ("inbox", "active", "hold", "failed")
        return [
            str(path.relative_to(self.home))
            for place in places
            for path in (self.home / place).rglob("*")
            if path.is_file() and path.name != ".lock"
        ]

    def judge(self):
        seen = oracle.look(self.home)
        faults = [*self.faults, *seen.faults, *oracle.leftovers(self.home)]
        faults += workers.left_running(self.home)
        faults += oracle.judge_jobs(self.home, seen, {})
        names = {each["id"]: each["name"] for each in seen.records if each["kind"] == "claimed"}
        removed = {names.get(each["id"]) for each in seen.records if each["kind"] == "removed"}
        found = Counter()
        for token, places in seen.files.items():
            for place in places:
                name = os.path.basename(place).partition("~")[0]
                found[name] += 1
                digest = hashlib.sha256((self.home / place).read_bytes()).hexdigest()
                if name not in self.dropped or self.dropped[name] != digest:
                    faults.append(f"INVENTED or changed {place} {token[:20]!r}")
        for name in self.dropped:
            if not found[name] and name not in removed:
                faults.append(f"LOST {name}")
            if found[name] > 1:
                faults.append(f"DOUBLED {name}")
        return faults + self.judge_effects(removed)

    def judge_effects(self, removed):
        lines = sweeps.effects_of(self.effects)
        faults, kept, begun = [], set(), Counter()
        for word, token, *more in lines:
            if word in ("TWICE", "PARTIAL"):
                faults.append(f"{word} {token} {more}: SILENT")
            elif word == "kept":
                kept.add((token, more[0]))
            elif word == "work" and (token, more[0]) in kept:
                faults.append(f"recorded step {more[0]} of {token} ran again")
            elif word == "begin":
                begun[more[0], more[1], token] += 1
        faults += [f"an attempt was begun twice: {each}" for each, n in begun.items() if n > 1]
        ended = {token: more for word, token, *more in lines if word == "end"}
        return faults + self.judge_ends(ended, removed) + self.judge_done()

    def judge_ends(self, ended, removed):
        faults = [
            f"{name} was called done and never was"
            for name in self.dropped.keys() - removed
            if name not in ended and f"reduce-{name}" not in ended
        ]
        for name, parts in self.jobs.items():
            if name not in removed and sorted(ended.get(f"reduce-{name}", [])) != sorted(parts):
                faults.append(f"LOST parts of {name}: {ended.get(f'reduce-{name}')}")
        return faults

    def judge_done(self):
        """Nothing that was recorded done when a daemon was dead begins after that."""
        faults = []
        with open(self.effects, "rb") as file:
            for size, ids, parts in self.known_done:
                file.seek(size)
                for line in file:
                    word, token, *more = line.decode().split()
                    if word == "begin" and (more[0] in ids or token in parts):
                        faults.append(f"{token} ran again although done was recorded")
        return faults


def run(folder, seconds, seed, bug=""):
    """Soak for so long, and return the row of it."""
    soak, begun = Soak(folder, seed, bug), time.monotonic()
    soak.start()
    everybody = [(soak.produce, number) for number in range(3)]
    everybody += [(soak.trouble,), (soak.administer,)]
    threads = [threading.Thread(target=soak.guarded, args=each) for each in everybody]
    for each in threads:
        each.start()
    time.sleep(seconds)
    soak.over.set()
    for each in threads:
        each.join()
    soak.rest()
    row = sweeps.Row(f"soak, seed {seed}")
    row.cases, row.happened = len(soak.dropped), soak.kills
    for fault in soak.judge():
        row.faults[sweeps.kind_of(fault)] += 1
        row.examples.setdefault(sweeps.kind_of(fault), fault)
    row.seconds = time.monotonic() - begun
    row.deeds = dict(soak.deeds)
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("seconds", type=float)
    parser.add_argument("--plant", default="", metavar="BUG", help="one of planted.py")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument(
        "--keep", action="store_true", help="keep the folder when it finds anything"
    )
    asked = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="resumed-soak-", dir=stage.BASE)
    row = run(folder, asked.seconds, asked.seed, asked.plant)
    print(f"{row.cases} files, {row.happened} kills, {row.seconds:.0f} s, seed {asked.seed}")
    print(", ".join(f"{deed} {count}" for deed, count in sorted(row.deeds.items())))
    for kind, count in row.faults.items():
        print(f"{kind} {count}: {row.examples[kind]}")
    if row.bad and asked.keep:
        print(folder)
    else:
        shutil.rmtree(folder)
    return 1 if row.bad else 0


if __name__ == "__main__":
    sys.exit(main())
