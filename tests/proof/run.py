"""Prove the promises: break the program in every way, and print one table.

    python tests/proof/run.py             the full tier, within half an hour
    python tests/proof/run.py --quick     a sample of everything, within a minute and a half
    python tests/proof/run.py kills ...   only these sweeps

A row whose faults did not happen, or that finds anything, fails the whole. The second table
plants bugs in the program, in the harness's own processes, and tells which sweep finds each.
What a whole run has found is also written to build/proof.md; --paste puts that into the README.

Each sweep takes its cases in an order that the seed decides, the most different ones first,
and stops when its seconds are over (`SECONDS`); on two idle cores none but the torn writes
comes near to that.
"""

# ruff: noqa: PLR0913 - a proof has many knobs

import argparse
import functools
import os
import pickle
import random
import re
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import cuts
import damage
import diskfull
import fuzz
import oom
import outputs
import planted
import powerloss
import reals
import repairs
import soak
import stage
import sweeps
import wishes
import workers

COLUMNS = ("lost", "doubled", "refused", "silent", "other", "harness")
ROOT = Path(__file__).parent.parent.parent
REPORT, README = ROOT / "build" / "proof.md", ROOT / "README.md"
SHOWN = re.compile(r"(<!-- proof: [^\n]*-->\n).*(<!-- end of proof -->)", re.DOTALL)

# What a sweep of the full tier may take, and all of them but those that run beside one another.
SECONDS = {
    "kills": 60, "asked": 30, "twice": 60, "short": 150, "errors": 240, "deeds": 90,
    "looks": 90, "wishes": 60,
    "strict": 300, "ordered": 180, "deep": 500, "outputs": 60, "repairs": 60,
    "reals": 75, "full": 90, "ext4": 150, "xfs": 180, "torn": 400,
}  # fmt: skip
TOGETHER_SECONDS = 1200
AT_LEAST_SECONDS = 10
SOAK_SECONDS, FUZZ_SECONDS = 120, 12


class Proof:
    """All sweeps, on one gold home; *quick* takes samples and minds the time."""

    def __init__(self, folder, *, quick, seed, processes, seconds=None, step=None):
        self.folder, self.quick, self.processes = folder, quick, processes
        self.step = step or (7 if quick else 1)
        self.seconds, self.seed, self.begun = seconds, seed, time.monotonic()
        self.random = random.Random(seed)
        self.gold = stage.Gold(folder)
        self.calls = sweeps.calls_of(self.gold, Path(folder) / "calls")
        self.seen = set()
        self.patience = 15
        self.opens = sweeps.calls_of(self.gold, Path(folder) / "calls", how="error")

    def until(self, name, quick=1e9):
        """Say when a sweep must stop: after its own seconds, or when all should be over."""
        now = time.monotonic()
        if self.seconds or self.quick:
            return now + (self.seconds or quick)
        over = self.begun + TOGETHER_SECONDS
        return min(now + SECONDS[name], max(over, now + AT_LEAST_SECONDS))

    def some(self, name, title, cases, quick, **options):
        cases = sweeps.spread(cases, random.Random(f"{self.seed} {name}"))
        options |= {"until": self.until(name, quick), "processes": self.processes}
        gold = options.pop("gold", self.gold)
        return sweeps.run(title, gold, self.folder, cases, **options)

    def kills(self):
        return self.some("kills", "SIGKILL before each call", sweeps.kills(self.calls), 6)

    def asked(self):
        cases = sweeps.kills(sweeps.calls_of_asking(self.gold, Path(self.folder) / "asking"))
        judge = {"judge_one": sweeps.judge_asking}
        return self.some("asked", "SIGKILL of a ctl that asks", cases, 3, **judge)

    def twice(self):
        return self.some("twice", "SIGKILL twice", self.pairs(20 if self.quick else 500), 3)

    def pairs(self, count):
        chance = random.Random(f"{self.seed} pairs")
        return sweeps.pairs(self.calls, lambda every: chance.sample(every, count))

    def torn(self):
        cases = sweeps.torn(self.calls, self.step, 3 if self.quick else 24)
        return self.some("torn", "each write torn", cases, 4)

    def short(self):
        cases = sweeps.short(self.calls, 13)
        return self.some("short", "each short write", cases, 3)

    def errors(self):
        return self.some("errors", "each call, each error", sweeps.errors(self.opens), 7)

    def looks(self):
        cases = sweeps.looks(self.gold, Path(self.folder) / "looks")
        return self.some("looks", "each look, each error", cases, 4)

    @functools.cached_property
    def wishing(self):
        return wishes.Gold(self.folder)

    def calls_of_wishes(self):
        return sweeps.calls_of(self.wishing, Path(self.folder) / "calls")

    def wishes(self):
        cases = sweeps.kills(self.calls_of_wishes())
        options = {"gold": self.wishing, "judge_one": wishes.judge_case}
        return self.some("wishes", "SIGKILL, all wishes", cases, 3, **options)

    def deeds(self):
        cases = sweeps.deeds(self.gold, Path(self.folder) / "deeds")
        return self.some("deeds", "producers between any two calls", cases, 4)

    def strict(self):
        return self.power("strict", 6, 4500)

    def ordered(self):
        return self.power("ordered", 4, 2500)

    def power(self, model, quick, limit):
        return powerloss.run(
            self.gold,
            self.folder,
            model=model,
            cap=10 if self.quick else 800,
            limit=400 if self.quick else limit,
            share=0.2 if self.quick else 1.0,
            seed=f"{self.seed} {model}",
            seen=self.seen,
            until=self.until(model, quick),
            processes=self.processes,
        )

    def deep(self):
        return powerloss.run_deep(
            self.gold,
            self.folder,
            second=40,
            limit=8000,
            seed=f"{self.seed} deep",
            seen=self.seen,
            processes=self.processes,
            until=self.until("deep"),
        )

    def outputs(self):
        until = self.until("outputs", 4)
        return outputs.run(self.folder, seed=self.seed, until=until, processes=self.processes)

    def damage(self):
        return damage.run(self.gold, self.folder, flips_step=19 if self.quick else 1)

    def repairs(self):
        cases = repairs.cases(self.gold, 97)
        random.Random(f"{self.seed} repairs").shuffle(cases)
        until = self.until("repairs", 4)
        return repairs.run(self.gold, self.folder, cases, until=until, processes=self.processes)

    def reals(self):
        if why := reals.available():
            return skipped("SIGKILL, real workers", why)
        limit = 6 if self.quick else 60
        until = self.until("reals", 8)
        return reals.run(
            self.gold,
            self.folder,
            limit=limit,
            seed=self.seed,
            until=until,
            processes=self.processes,
        )

    def workers(self):
        return workers.run(self.folder)

    def oom(self):
        if why := oom.available():
            return skipped("out of memory, killed", why)
        return oom.run(self.folder)

    def full(self):
        if why := diskfull.available():
            return skipped("disk full, then space again", why)
        until = self.until("full")
        return diskfull.run(self.gold, self.folder, until=until, processes=self.processes)

    def fuzz(self):
        return fuzz.run(self.folder, FUZZ_SECONDS)

    def soak(self):
        place = tempfile.mkdtemp(dir=self.folder)
        return soak.run(place, self.seconds or SOAK_SECONDS, self.seed)

    def ext4(self):
        return self.cut("ext4")

    def xfs(self):
        return self.cut("xfs")

    def cut(self, kind):
        if why := cuts.available(kind, self.folder):
            return skipped(f"power cut, {kind}", why)
        until = self.until(kind)
        return cuts.run(self.gold, self.folder, kind, processes=self.processes, until=until)

    def find(self, bug):
        """Name a sweep that finds a planted bug, the likeliest first."""
        for name, sweep in self.finders(bug).items():
            if sweep().bad:
                return name
        return ""

    def finders(self, bug):
        """Offer sweeps that know of the bug, the likeliest first, each for some seconds."""

        def faulty(make, gold=None, **options):
            def sweep():
                cases = make()
                self.random.shuffle(cases)
                return sweeps.run(
                    bug,
                    gold or self.gold,
                    self.folder,
                    cases,
                    bug=bug,
                    first=True,
                    until=time.monotonic() + self.patience,
                    processes=self.processes,
                    **options,
                )

            return sweep

        def dark(model, *, late=False):
            return lambda: powerloss.run(
                self.gold,
                self.folder,
                model=model,
                cap=10,
                limit=300,
                bug=bug,
                late=late,
                first=True,
                until=time.monotonic() + self.patience,
                processes=self.processes,
            )

        def published():
            until = time.monotonic() + self.patience
            return outputs.run(
                self.folder, bug=bug, first=True, until=until, processes=self.processes
            )

        def syncs():
            every = sweeps.errors(self.calls, ("EIO",))
            return [each for each in every if "sync" in each.call]

        def stats():
            every = sweeps.looks(self.gold, Path(self.folder) / "looks")
            return [each for each in every if each.call == "stat"]

        def openings():
            every = sweeps.deeds(self.gold, Path(self.folder) / "deeds")
            return [each for each in every if (each.how, each.call) == ("opened", "renameat2")]

        asked = {"gold": self.wishing, "judge_one": wishes.judge_case}
        every = {
            "early kills": faulty(lambda: sweeps.kills(self.calls)[:24]),
            "kills": faulty(lambda: sweeps.kills(self.calls)),
            "twice": faulty(lambda: self.pairs(300)),
            "torn": faulty(lambda: sweeps.torn(self.calls, 41, 3)),
            "short": faulty(lambda: sweeps.short(self.calls, 41)),
            "errors": faulty(syncs),
            "power strict": dark("strict"),
            "power strict, at the end": dark("strict", late=True),
            "power ordered": dark("ordered"),
            "outputs": published,
            "damage": lambda: damage.run(self.gold, self.folder, bug=bug, flips_step=37),
            "deeds": faulty(openings),
            "looks": faulty(stats),
            "wishes": faulty(lambda: sweeps.kills(self.calls_of_wishes()), **asked),
        }
        first = planted.FOUND_BY.get(bug, "kills")
        return {first: every.pop(first), **every}


QUICK = (
    "kills",
    "asked",
    "twice",
    "torn",
    "short",
    "errors",
    "deeds",
    "wishes",
    "strict",
    "ordered",
    "outputs",
    "damage",
    "repairs",
    "reals",
)
# The whole, what was promised in numbers first: one after another, each by all processes; then
# rows of such as need but one each.
FULL = (
    *("kills", "asked", "twice", "strict", "ordered", "deep", "outputs", "ext4", "xfs"),
    *("wishes", "deeds", "looks", "errors", "short", "repairs", "reals", "full", "torn"),
)
BESIDE = (("workers", "soak"), ("damage", "oom", "fuzz"))


NAMES = (*dict.fromkeys((*QUICK, *FULL, *(each for lane in BESIDE for each in lane))),)


def skipped(name, why):
    """Make the row of a sweep that cannot run here."""
    return sweeps.Row(f"{name}: skipped, {why}", skipped=True)


def show(row):
    """Print one line of the table, with the first example of each kind of fault."""
    counts = "".join(f"{row.faults[each]:>9}" for each in COLUMNS)
    print(f"{row.sweep:<34}{row.cases:>8}{row.happened:>10}{counts}{row.seconds:>9.1f}", flush=True)
    for kind, example in row.examples.items():
        print(f"    {kind}: {example}")


def rows(proof, names):
    """Yield a row for each name; of a tuple of tuples, those run beside one another."""
    for name in names:
        if isinstance(name, str):
            yield getattr(proof, name)()
        else:
            yield from beside(proof, name)


def beside(proof, lanes):
    """Run each lane in a process of its own."""
    sys.stdout.flush()
    readers = []
    for names in lanes:
        reader, writer = os.pipe()
        if not os.fork():
            try:
                with os.fdopen(writer, "wb") as pipe:
                    pickle.dump([getattr(proof, each)() for each in names], pipe)
            except BaseException:  # noqa: BLE001 - a lane that says nothing is noticed
                traceback.print_exc()
            os._exit(0)
        os.close(writer)
        readers.append(reader)
    for names, reader in zip(lanes, readers, strict=True):
        with os.fdopen(reader, "rb") as pipe:
            content = pipe.read()
        os.wait()
        broken = sweeps.Row(f"{', '.join(names)}: ended by itself")
        yield from pickle.loads(content) if content else [broken]  # noqa: S301 - our own


def prove(proof, names):
    """Run the sweeps, print the table and return its rows."""
    titles = "".join(f"{each:>9}" for each in COLUMNS)
    print(f"{'sweep':<34}{'cases':>8}{'happened':>10}{titles}{'seconds':>9}")
    done = []
    for row in rows(proof, names):
        show(row)
        done.append(row)
    if states := states_of(done):
        print(f"{states:,} different states of a disk after a power cut")
    return done


def states_of(done):
    """Count the states that were judged; no two of a run are alike."""
    return sum(row.cases for row in done if row.sweep.startswith("power loss"))


def plant(proof, bugs):
    """Print which sweep finds each planted bug; return them, of those that none finds ""."""
    print(f"\n{'planted bug':<34}found by")
    finders = {}
    for bug in bugs:
        begun = time.monotonic()
        finders[bug] = proof.find(bug)
        took = time.monotonic() - begun
        print(f"{bug:<34}{finders[bug] or 'NOTHING':<44}{took:6.1f} s", flush=True)
    return finders


def markdown(done, states, finders, seconds, processes):
    """Write the tables as the README shows them."""
    yield "| sweep | cases | happened | " + " | ".join(COLUMNS) + " | seconds |"
    yield "|---" * (len(COLUMNS) + 4) + "|"
    for row in done:
        counts = " | ".join(str(row.faults[each]) for each in COLUMNS)
        yield f"| {row.sweep} | {row.cases:,} | {row.happened:,} | {counts} | {row.seconds:.0f} |"
    yield f"\n{states:,} different states of a disk after a power cut; all of it took"
    yield f"{seconds / 60:.0f} minutes on {processes} cores. Of {len(finders)} planted bugs\n"
    for finder in dict.fromkeys(sorted(finders.values())):
        bugs = [bug.replace("_", " ") for bug, found_by in finders.items() if found_by == finder]
        yield f"- {finder or '**nothing**'} found: {', '.join(bugs)}"


def paste():
    """Let the README show what the last whole run has found."""
    found = REPORT.read_text()
    shown, count = SHOWN.subn(lambda marks: marks[1] + found + marks[2], README.read_text())
    if not count:
        raise LookupError(f"{README}: has no place for it")
    README.write_text(shown)


def alone():
    """Mount where nobody else sees it, so that nobody else keeps it mounted."""
    if os.geteuid() == 0 and shutil.which("unshare") and "PROOF_ALONE" not in os.environ:
        os.environ["PROOF_ALONE"] = "1"
        private = ["unshare", "--mount", "--propagation", "private"]
        os.execvp("unshare", [*private, sys.executable, *sys.argv])  # noqa: S606


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a sample of everything")
    parser.add_argument("--paste", action="store_true", help="show the last run in the README")
    parser.add_argument("--planted", nargs="*", metavar="BUG", help="only these bugs, or all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, help="stop each sweep after so long")
    parser.add_argument("--step", type=int, help="tear writes at each so many bytes")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("sweeps", nargs="*", metavar="SWEEP", help=", ".join(NAMES))
    asked = parser.parse_args()
    if asked.paste:
        return paste()
    if not asked.quick:
        alone()
    stage.preload()
    folder = tempfile.mkdtemp(prefix="resumed-proof-", dir=stage.BASE)
    options = {"quick": asked.quick, "seed": asked.seed, "processes": asked.processes}
    options |= {"seconds": asked.seconds, "step": asked.step}
    done, finders, whole = [], {}, not asked.sweeps and asked.planted is None
    try:
        proof = Proof(folder, **options)
        if asked.planted is None:
            done = prove(proof, asked.sweeps or (QUICK if asked.quick else (*FULL, BESIDE)))
        if asked.planted is not None or whole:
            finders = plant(proof, asked.planted or planted.BUGS)
        if whole and not asked.quick:
            took = time.monotonic() - proof.begun
            report = markdown(done, states_of(done), finders, took, asked.processes)
            REPORT.parent.mkdir(exist_ok=True)
            REPORT.write_text("\n".join([*report, ""]))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    bad = any(each.bad or not (each.happened or each.skipped) for each in done)
    return 1 if bad or not all(finders.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
