"""Cut the power after every call of a run, and start on each state that a disk may be in then.

The calls of one run, recorded by `stage.Faults`, are played to a small model of a file system.
After each, every legal state is made: a file's bytes since its last sync kept, dropped, torn or
zeroed; names since the last sync of their folder present or not.

    strict    any subset of the names' changes survived (a name in a new folder needs the
              folder), and a file's sync saves no name: POSIX promises no more
    ordered   a prefix of them survived, and every sync saves all before it: ext4, XFS, Btrfs

A rename is atomic in both. On each different state the program starts, gets new work, starts
again, and is judged; a *deep* state is one of a cut in the recovery from another.
"""

# ruff: noqa: PLR0913 - a sweep has many knobs

import functools
import hashlib
import itertools
import os
import random
import re
import shutil
import time
from pathlib import Path

import crew
import planted
import stage
import sweeps

SECTOR = 512
MOMENT = "state/now.json"  # what runs this moment: no call for it, and no promise


class Node:
    """One file or folder: what is durable of it, and what is only in memory."""

    __slots__ = ("data", "dir", "ents", "id", "ino", "mtime", "pend")

    def __init__(self, id_, is_dir, ino=0, mtime=None):
        self.id, self.dir, self.ino, self.mtime = id_, is_dir, ino, mtime
        self.data = b""
        self.pend = []
        self.ents = {}


class Disk:
    """What is on the disk for sure, and what may or may not be."""

    def __init__(self, model, home):
        self.model = model
        self.nodes, self.live, self.meta, self.by_ino = {}, {}, [], {}
        self.root = self.live[""] = self.new(True, os.lstat(home).st_ino)
        self.load(str(home), "")

    def new(self, is_dir, ino=0, mtime=None):
        node = Node(len(self.nodes), is_dir, ino, mtime)
        self.nodes[node.id] = node
        if ino:
            self.by_ino[ino] = node
        return node

    def load(self, path, prefix):
        for entry in sorted(os.scandir(path), key=lambda each: each.name):
            status = entry.stat(follow_symlinks=False)
            known = self.by_ino.get(status.st_ino)
            is_dir = entry.is_dir(follow_symlinks=False)
            node = known or self.new(is_dir, status.st_ino, status.st_mtime_ns)
            self.live[prefix + entry.name] = node
            self.live[prefix[:-1]].ents[entry.name] = node.id
            if is_dir:
                self.load(entry.path, f"{prefix}{entry.name}/")
            elif known is None:
                node.data = stage.content_of(entry.path)

    def now(self, node):
        if not node.pend:
            return node.data
        data = bytearray(node.data)
        for op in node.pend:
            apply_data(data, op)
        return bytes(data)

    def do(self, op):
        kind, *words = op
        if kind in ("fsync", "fdatasync"):
            self.sync(self.by_ino.get(words[0]))
        elif kind == "syncfs":
            for node in self.nodes.values():
                node.data, node.pend = self.now(node), []
            self.flush(lambda _: True)
        elif kind == "write":
            node, at, data = self.by_ino[words[0]], words[1], words[2].encode("latin-1")
            node.pend.append(("w", at, data))
        elif kind == "ftruncate":
            self.by_ino[words[0]].pend.append(("t", words[1]))
        elif kind in ("create", "mkdir", "link", "symlink"):
            self.name(kind, *words)
        elif kind in ("unlink", "rmdir"):
            self.live.pop(words[0])
            parent, name = self.parent(words[0])
            self.meta.append(("unlink", parent, name))
        elif kind == "rename":
            self.rename(*words)

    def name(self, kind, path, about):
        if kind == "link":
            path, node = about, self.live[path]
        elif kind == "symlink":  # it has its target from the first moment on
            node = self.new(is_dir=False)
            node.data = about
        else:
            node = self.new(kind == "mkdir", about)
        self.link(path, node)

    def parent(self, path):
        folder, _, name = path.rpartition("/")
        return self.live[folder].id, name

    def link(self, path, node):
        self.live[path] = node
        parent, name = self.parent(path)
        self.meta.append(("link", parent, name, node.id))

    def rename(self, source, target):
        old, new = self.parent(source), self.parent(target)
        node = self.live.pop(source)
        below = [each for each in self.live if each.startswith(source + "/")]
        for each in below:
            self.live[target + each[len(source) :]] = self.live.pop(each)
        self.live[target] = node
        self.meta.append(("rename", *old, *new, node.id))

    def sync(self, node):
        if node is None:
            return
        if node.dir:
            self.flush(lambda m: self.model == "ordered" or node.id in touched(m))
        else:
            node.data, node.pend = self.now(node), []
            if self.model == "ordered":
                self.flush(lambda _: True)

    def flush(self, want):
        entries = {each.id: each.ents for each in self.nodes.values() if each.dir}
        for change in [each for each in self.meta if want(each)]:
            apply_entries(entries, change)
        self.meta = [each for each in self.meta if not want(each)]

    # -------------------------------------------------------------- states

    def contents(self, node):
        """List every legal content of a file with unsynced writes."""
        out, base = [], bytearray(node.data)
        for op in node.pend:
            out.append(bytes(base))
            if op[0] == "w":
                out += torn(base, op)
            apply_data(base, op)
        out.append(bytes(base))
        for lost in range(len(node.pend) - 1):  # an early one lost, a later one kept
            data = bytearray(node.data)
            for turn, op in enumerate(node.pend):
                zeroed = ("w", op[1], bytes(len(op[2]))) if op[0] == "w" else op
                apply_data(data, zeroed if turn == lost else op)
            out.append(bytes(data))
        return list(dict.fromkeys(out))

    def choices(self, rng):
        """List the sets of names' changes that may have survived."""
        count = len(self.meta)
        if self.model == "ordered":
            return [tuple(range(each)) for each in range(count + 1)]
        if count <= 7:
            every = range(1 << count)
            return [tuple(i for i in range(count) if mask >> i & 1) for mask in every]
        out = [tuple(range(each)) for each in range(count + 1)]
        out += [tuple(j for j in range(count) if j != i) for i in range(count)]
        out += [tuple(j for j in range(count) if rng.random() < 0.5) for _ in range(64)]
        return list(dict.fromkeys(out))

    def with_parents(self, chosen):
        """Add the making of each folder that a chosen change is in."""
        made = {m[3]: i for i, m in enumerate(self.meta) if m[0] == "link"}
        wanted = set(chosen)
        for index in chosen:
            wanted |= {made[folder] for folder in touched(self.meta[index]) if folder in made}
        return sorted(wanted)

    def states(self, rng, cap):
        files = [each for each in self.nodes.values() if not each.dir and each.pend]
        axes = [self.choices(rng), *(self.contents(each) for each in files)]
        total = 1
        for axis in axes:
            total *= len(axis)
        if total <= cap:
            picks = itertools.product(*axes)
        else:
            ends = [tuple(a[0] for a in axes), tuple(a[-1] for a in axes)]
            picks = ends + [tuple(rng.choice(a) for a in axes) for _ in range(cap)]
        for pick in picks:
            entries = {each.id: dict(each.ents) for each in self.nodes.values() if each.dir}
            for index in self.with_parents(pick[0]):
                apply_entries(entries, self.meta[index])
            data = {each.id: content for each, content in zip(files, pick[1:], strict=True)}
            yield self.tree(entries, data)

    def tree(self, entries, data):
        """Say what a state holds: path → None, or (node, inode, mtime, bytes)."""
        out = {}

        def walk(folder, prefix):
            for name, child in sorted(entries[folder].items()):
                node = self.nodes[child]
                if node.dir:
                    out[f"{prefix}{name}/"] = None
                    walk(child, f"{prefix}{name}/")
                else:
                    content = data.get(child, node.data)
                    out[prefix + name] = (child, node.ino, node.mtime, content)

        walk(self.root.id, "")
        return out


def torn(base, op):
    """List the ways in which a write may be half on the disk."""
    _, at, data = op
    cuts = {1, len(data) // 2, len(data) - 1, *range(SECTOR - at % SECTOR, len(data), SECTOR)}
    out = []
    for cut in sorted(each for each in cuts if 0 < each < len(data)):
        short = bytearray(base)
        apply_data(short, ("w", at, data[:cut]))
        out.append(bytes(short))
        sized = bytearray(short)
        sized.extend(bytes(max(0, at + len(data) - len(sized))))
        out.append(bytes(sized))
        hole = bytearray(base)
        apply_data(hole, op)
        hole[at : at + cut] = bytes(cut)
        out.append(bytes(hole))
    zero = bytearray(base)
    apply_data(zero, ("w", at, bytes(len(data))))
    return [*out, bytes(zero)]


def apply_data(buffer, op):
    if op[0] == "t":
        if op[1] < len(buffer):
            del buffer[op[1] :]
        else:
            buffer.extend(bytes(op[1] - len(buffer)))
        return
    _, at, data = op
    if at > len(buffer):
        buffer.extend(bytes(at - len(buffer)))
    buffer[at : at + len(data)] = data


def touched(change):
    return (change[1], change[3]) if change[0] == "rename" else (change[1],)


def apply_entries(entries, change):
    if change[0] == "link":
        entries[change[1]][change[2]] = change[3]
    elif change[0] == "unlink":
        entries[change[1]].pop(change[2], None)
    else:
        _, old, name, new, target, node = change
        if entries[old].get(name) == node:
            del entries[old][name]
        entries[new][target] = node


# ------------------------------------------------------------------ playing


def write_tree(home, tree):
    """Make a state real; its records speak of the inodes that it got."""
    home.mkdir(parents=True)
    written, mapping, notes = {}, {}, {}
    for path, about in tree.items():
        if about is None:
            (home / path).mkdir(parents=True, exist_ok=True)
            continue
        node, ino, mtime, content = about
        if isinstance(content, str):
            notes[path] = content
            continue
        if node in written:
            os.link(written[node], home / path)
            continue
        (home / path).write_bytes(content)
        if mtime is not None:
            os.utime(home / path, ns=(mtime, mtime))
        written[node] = home / path
        mapping[ino] = os.lstat(home / path).st_ino
    for path, target in notes.items():
        stage.note_origin(home / path, target, mapping)
    stage.renumber(home, mapping)


def record(gold, folder, plant=None, *, one_sync=True):
    """Run once in a copy of the gold home; return its disk before, and the operations.

    Without *one_sync* the claims' records are synced by themselves, after files and folders.
    """

    def prepare():
        from resumed import filesystem

        filesystem.covers = lambda *_: one_sync
        if plant:
            plant()

    home, effects = gold.copy(folder)
    before = effects_text(effects)
    disks = [Disk(model, home) for model in ("strict", "ordered")]
    _, ops = stage.drain(
        home, effects, stage.Faults(home, ops=[]), prepare, report=lambda faults: faults.ops
    )
    if ops is None:
        raise RuntimeError(f"the run to record ended by {sweeps.said(effects)}")
    left = {path: content for _, path, _, content, _ in stage._entries(home)}
    shutil.rmtree(folder)
    return disks, ops, before, left


def astray(disk, left):
    """Name what a disk to which the whole run was played has otherwise than the run has *left*."""
    nodes = {path: node for path, node in disk.live.items() if path}
    known = {path: None if node.dir else disk.now(node) for path, node in nodes.items()}
    absent = object()
    paths = sorted((known.keys() | left.keys()) - {MOMENT})
    return [each for each in paths if known.get(each, absent) != left.get(each, absent)]


def effects_text(path):
    with open(path) as file:
        return file.read()


def cuts(disk, ops, before, rng, cap, *, share=1.0):
    """Yield (what was cut after, the state, what the world had seen, what it had been told).

    Only a *share* of all moments is looked at, chosen by chance.
    """
    effects, told = before, []
    for number, op in enumerate([("start",), *ops]):
        if op[0] == "effect":
            effects += " ".join(op[1:]) + "\n"
            continue
        if op[0] == "told":
            told.append(op[1:])
            if op[1] == "kept":
                effects += " ".join(op[1:]) + "\n"
        elif op[0] != "start":
            disk.do(op)
        if share < 1.0 and rng.random() >= share:
            continue
        label = f"{disk.model}: cut after {number} {op[0]} {str(op[1])[:60] if len(op) > 1 else ''}"
        for tree in disk.states(rng, cap):
            yield label, tree, effects, list(told)


_FLEETING = re.compile(rb'"(at|crc|g|mtime_ns|inode|seconds)":("[^"]*"|[0-9.]+)')
_ID = re.compile(rb"[0-9a-f]{11}-[0-9a-f]{10}|\.resumed-[0-9a-f]{16}|lock-[0-9a-f]{8}")


@functools.lru_cache(maxsize=20_000)
def lasting(content):
    """Leave out what no two runs have alike: times, sums, ids."""
    return _FLEETING.sub(b"", _ID.sub(b"ID", content))


def marked(content):
    return b"@" if isinstance(content, str) else lasting(content)


def fingerprint(tree, told):
    """Tell states apart by what is in them, and by what somebody was told before."""
    digest = hashlib.blake2b(lasting(repr(told).encode()), digest_size=12)
    lines = (
        b"%b %b\n" % (lasting(path.encode()), b"/" if about is None else marked(about[3]))
        for path, about in tree.items()
    )
    for line in sorted(lines):
        digest.update(line)
    return digest.digest()


def cuts_of_recovery(folder, state, rng, count, seen):
    """Start on a state, record that too, and return states of a cut in its middle, not *seen*."""
    first, tree, effects_before, told = state
    folder.mkdir()
    home, effects = folder / "home", folder / "effects"
    write_tree(home, tree)
    effects.write_text(effects_before)
    disk = Disk(rng.choice(["strict", "ordered"]), home)
    plan = stage.Faults(home, ops=[])
    _, ops = stage.drain(home, str(effects), plan, report=lambda faults: faults.ops)
    shutil.rmtree(folder)
    again = list(cuts(disk, ops or [], effects_before, rng, 10, share=0.4))
    rng.shuffle(again)
    every = (
        (f"{first}; {label}", tree, effects, told + more) for label, tree, effects, more in again
    )
    return list(itertools.islice(different(every, seen), count))


def run_deep(gold, folder, *, second, limit, seen, seed=2, processes=2, until=None):
    """Cut the power in recoveries, up to *second* times in each; stop at *limit* states."""
    rng = random.Random(seed)
    disks, ops, before, _ = record(gold, Path(folder) / "record")
    firsts = []
    for disk in disks:
        firsts += different(cuts(disk, ops, before, rng, 10), set())
    rng.shuffle(firsts)
    row, begun = sweeps.Row("power loss, twice"), time.monotonic()

    def judge(number, state):
        place = Path(folder) / f"p{os.getpid()}-{number}"
        chance = random.Random(f"{seed} {number}")
        found = []
        for turn, again in enumerate(cuts_of_recovery(place, state, chance, second, seen)):
            mark = fingerprint(again[1], again[3])
            faults = judge_state(gold.tokens, Path(f"{place}-{turn}"), again, 2)
            found.append((mark, again[0], faults))
        return found

    play = crew.play(firsts, judge, processes=processes, until=until, prepare=sweeps.planting(""))
    for _, found in play:
        for mark, label, faults in found or [(b"", "a recovery", [crew.HANGS])]:
            if mark not in seen:  # another process may have come upon it too
                seen.add(mark)
                row.add(label, True, faults)
        if row.cases >= limit:
            break
    row.seconds = time.monotonic() - begun
    return row


def judge_state(tokens, folder, state, crashes=1):
    """Start on one state, give it new work, start again; return what was wrong."""
    label, tree, effects_before, told = state
    home, effects = folder / "home", str(folder / "effects")
    folder.mkdir()
    write_tree(home, tree)
    Path(effects).write_text(effects_before)
    before = effects_before.count("\n")
    ids = {w[2]: w[1] for w in map(str.split, effects_before.splitlines()) if w[0] == "begin"}
    past = {ids[each[1]] for each in told if each[0] in ("done", "failed") and each[1] in ids}
    faults = sweeps.recover(home, effects, 1)
    if not faults:
        later = stage.drop(home, "new9")
        faults = sweeps.recover(home, effects, 1)
        judged = {"crashes": crashes, "before": before, "past": past}
        # Where a move may survive without the note that was made before it, the note may not.
        judged["strays"] = "strict" in label
        faults += sweeps.judge_end(home, effects, tokens | {later}, **judged)
    shutil.rmtree(folder)
    return faults


def play(row, gold, folder, states, *, bug="", crashes=1, processes=2, until=None, first=False):
    """Judge *states* in some processes, into *row*."""
    begun = time.monotonic()

    def judge(number, state):
        place = Path(folder) / f"p{os.getpid()}-{number}"
        try:
            return judge_state(gold.tokens, place, state, crashes)
        except OSError as error:
            shutil.rmtree(place, ignore_errors=True)
            return [f"the harness stumbled: {error!r}"]

    prepare = sweeps.planting(bug)
    for state, faults in crew.play(
        states, judge, processes=processes, until=until, prepare=prepare
    ):
        row.add(state[0], True, [crew.HANGS] if faults is None else faults)
        if first and row.bad:
            break
    row.seconds = time.monotonic() - begun


def different(states, seen):
    """Pass each state once."""
    for state in states:
        mark = fingerprint(state[1], state[3])
        if mark not in seen:
            seen.add(mark)
            yield state


def run(
    gold,
    folder,
    *,
    model,
    cap,
    limit,
    bug="",
    seed=1,
    processes=2,
    until=None,
    late=False,
    first=False,
    share=1.0,
    seen=None,
):
    """Judge at most *limit* states of one model that are not *seen*, over two whole runs.

    The journal of one is where the sync of a claim covers it, that of the other is not.
    """
    rng, seen = random.Random(seed), set() if seen is None else seen
    states, strays, count = [], [], 0
    for one_sync in (True, False):
        place = Path(folder) / "record"
        disks, ops, before, left = record(gold, place, planted.BUGS.get(bug), one_sync=one_sync)
        disk = disks[model == "ordered"]
        found = list(different(cuts(disk, ops, before, rng, cap, share=share), seen))
        strays += astray(disk, left)
        count += len(found)
        states += found[-len(found) // 4 :] if late else found
    states = rng.sample(states, min(limit, len(states)))
    row = sweeps.Row(f"power loss, {model}")
    if strays:
        row.faults["harness"] = len(strays)
        row.examples["harness"] = f"the model has otherwise than the run: {strays[:5]}"
    play(row, gold, folder, states, bug=bug, processes=processes, until=until, first=first)
    row.known = count
    return row
