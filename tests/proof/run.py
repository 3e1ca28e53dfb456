"""Prove the promises: break the program in every way, and print one table.

    python tests/proof/run.py             the full tier, within half an hour
    python tests/proof/run.py --quick     a sample of everything, within a minute and a half
    python tests/proof/run.py kills ...   only these sweeps

A row whose faults did not happen, or that finds anything, fails the whole. The second table
plants bugs in the program, in the harness's own processes, and tells which sweep finds each.
"""

# ruff: noqa: PLR0913 - a proof has many knobs

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import cuts
import damage
import diskfull
import fuzz
import planted
import powerloss
import reals
import soak
import stage
import sweeps
import workers

COLUMNS = ("lost", "doubled", "refused", "silent", "other", "harness")
NEVER = 1e9


class Proof:
    """All sweeps, on one gold home; *quick* takes samples and minds the time."""

    def __init__(self, folder, *, quick, seed, processes, seconds=None, step=7):
        self.folder, self.quick, self.processes, self.step = folder, quick, processes, step
        self.seconds = seconds
        self.random = random.Random(seed)
        self.gold = stage.Gold(folder)
        self.calls = sweeps.calls_of(self.gold, Path(folder) / "calls")
        self.seen = set()
        self.examples = {}
        self.patience = 15
        self.opens = sweeps.calls_of(self.gold, Path(folder) / "calls", opens=True)

    def until(self, seconds):
        return time.monotonic() + (self.seconds or (seconds if self.quick else NEVER))

    def some(self, cases, seconds, name, **options):
        cases = sweeps.spread(cases, self.random)
        until = self.until(seconds)
        processes = self.processes
        return sweeps.run(
            name, self.gold, self.folder, cases, until=until, processes=processes, **options
        )

    def kills(self):
        return self.some(sweeps.kills(self.calls), 6, "SIGKILL before each call")

    def twice(self):
        return self.some(self.pairs(20 if self.quick else 500), 3, "SIGKILL twice")

    def pairs(self, count):
        return sweeps.pairs(self.calls, lambda every: self.random.sample(every, count))

    def torn(self):
        return self.some(sweeps.torn(self.calls, self.step), 4, "each write torn")

    def short(self):
        return self.some(sweeps.short(self.calls, self.step * 2 - 1), 3, "each short write")

    def errors(self):
        return self.some(sweeps.errors(self.opens), 7, "each call, each error")

    def deeds(self):
        return self.some(sweeps.deeds(self.calls), 4, "producers between any two calls")

    def strict(self):
        return self.power("strict", 6)

    def ordered(self):
        return self.power("ordered", 4)

    def power(self, model, seconds, **options):
        cap, limit = (10, 400) if self.quick else (800, 9000)
        options["share"] = 0.2 if self.quick else 1.0
        return powerloss.run(
            self.gold,
            self.folder,
            model=model,
            cap=cap,
            limit=limit,
            seen=self.seen,
            until=self.until(seconds),
            processes=self.processes,
            **options,
        )

    def deep(self):
        return powerloss.run_deep(
            self.gold,
            self.folder,
            first=60 if self.seconds else 160,
            second=60,
            seen=self.seen,
            processes=self.processes,
            until=self.until(NEVER),
        )

    def damage(self):
        return damage.run(self.gold, self.folder, flips_step=19 if self.quick else 1)

    def reals(self):
        if why := reals.available():
            return skipped("SIGKILL, real workers", why)
        limit = 6 if self.quick else 60
        until = self.until(8)
        return reals.run(self.gold, self.folder, limit=limit, until=until, processes=self.processes)

    def workers(self):
        return workers.run(self.folder)

    def full(self):
        if why := diskfull.available():
            return skipped("disk full, then space again", why)
        until = self.until(NEVER)
        return diskfull.run(self.gold, self.folder, until=until, processes=self.processes)

    def fuzz(self):
        return fuzz.run(self.folder, 10)

    def soak(self):
        return soak.run(
            tempfile.mkdtemp(dir=self.folder), self.seconds or 120, self.random.random()
        )

    def ext4(self):
        return self.cut("ext4")

    def xfs(self):
        return self.cut("xfs")

    def cut(self, kind):
        if why := cuts.available(kind, self.folder):
            return skipped(f"power cut, {kind}", why)
        return cuts.run(self.gold, self.folder, kind, processes=self.processes)

    def find(self, bug):
        """Name the sweeps that find a planted bug; the quick tier stops at the first."""
        found = []
        for name, sweep in self.finders(bug).items():
            # The likeliest one is given time; of the others it is told who finds it soon as well.
            self.patience = 1.5 if found else 15
            row = sweep()
            if row.bad:
                found.append(name)
                self.examples[bug] = next(iter(row.examples.values()))
                if self.quick:
                    break
        return found

    def finders(self, bug):
        """Offer sweeps that know of the bug, the likeliest first, each for some seconds."""

        def faulty(cases):
            self.random.shuffle(cases)
            return lambda: sweeps.run(
                bug,
                self.gold,
                self.folder,
                cases,
                bug=bug,
                first=True,
                until=time.monotonic() + self.patience,
                processes=self.processes,
            )

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

        syncs = [each for each in sweeps.errors(self.calls, ("EIO",)) if "sync" in each.call]
        every = {
            "early kills": faulty(sweeps.kills(self.calls)[:24]),
            "kills": faulty(sweeps.kills(self.calls)),
            "twice": faulty(self.pairs(300)),
            "torn": faulty(sweeps.torn(self.calls, 41)),
            "short": faulty(sweeps.short(self.calls, 41)),
            "errors": faulty(syncs),
            "power strict": dark("strict"),
            "power strict, at the end": dark("strict", late=True),
            "power ordered": dark("ordered"),
            "damage": lambda: damage.run(self.gold, self.folder, bug=bug, flips_step=37),
        }
        first = planted.FOUND_BY.get(bug, "kills")
        return {first: every.pop(first), **every}


QUICK = (
    "kills",
    "twice",
    "torn",
    "short",
    "errors",
    "deeds",
    "strict",
    "ordered",
    "damage",
    "reals",
)
FULL = (*QUICK, "full", "workers", "deep", "ext4", "xfs", "fuzz", "soak")


def skipped(name, why):
    row = sweeps.Row(f"{name}: skipped, {why}")
    row.skipped = True
    return row


def show(row):
    """Print one line of the table, with the first example of each kind of fault."""
    counts = "".join(f"{row.faults[each]:>9}" for each in COLUMNS)
    print(f"{row.sweep:<34}{row.cases:>8}{row.happened:>10}{counts}{row.seconds:>9.1f}", flush=True)
    for kind, example in row.examples.items():
        print(f"    {kind}: {example}")


def prove(proof, names):
    """Run the sweeps and return how many rows are bad."""
    titles = "".join(f"{each:>9}" for each in COLUMNS)
    print(f"{'sweep':<34}{'cases':>8}{'happened':>10}{titles}{'seconds':>9}")
    bad = 0
    for name in names:
        row = getattr(proof, name)()
        show(row)
        nothing = not row.happened and not getattr(row, "skipped", False)
        bad += bool(row.bad or nothing)
    return bad


def plant(proof, bugs):
    """Print which sweep finds each planted bug; return how many are found by none."""
    missed = 0
    print(f"\n{'planted bug':<34}found by")
    for bug in bugs:
        begun = time.monotonic()
        found = proof.find(bug)
        missed += not found
        took = time.monotonic() - begun
        print(f"{bug:<34}{', '.join(found) or 'NOTHING':<44}{took:6.1f} s", flush=True)
    return missed


def alone():
    """Mount where nobody else sees it, so that nobody else keeps it mounted."""
    if os.geteuid() == 0 and shutil.which("unshare") and "PROOF_ALONE" not in os.environ:
        os.environ["PROOF_ALONE"] = "1"
        private = ["unshare", "--mount", "--propagation", "private"]
        os.execvp("unshare", [*private, sys.executable, *sys.argv])  # noqa: S606


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a sample of everything")
    parser.add_argument("--planted", nargs="*", metavar="BUG", help="only these bugs, or all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, help="stop each sweep after so long")
    parser.add_argument("--step", type=int, default=7, help="tear writes at each so many bytes")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("sweeps", nargs="*", metavar="SWEEP", help=", ".join(FULL))
    asked = parser.parse_args()
    if not asked.quick:
        alone()
    stage.preload()
    folder = tempfile.mkdtemp(prefix="resumed-proof-", dir=stage.BASE)
    options = {"quick": asked.quick, "seed": asked.seed, "processes": asked.processes}
    options |= {"seconds": asked.seconds, "step": asked.step}
    bad = 0
    try:
        proof = Proof(folder, **options)
        if asked.planted is None:
            bad += prove(proof, asked.sweeps or (QUICK if asked.quick else FULL))
        if asked.planted is not None or not asked.sweeps:
            bad += plant(proof, asked.planted or planted.BUGS)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
