"""Look after the journal: `journal check`, `journal repair`, `journal cat`.

With ``--json``, `check` prints one object (*offset_bytes* is where a bad line begins)::

    {"file": "/.../journal.jsonl", "state": "corrupt", "records": 120, "generation": "7f3a9c1e",
     "bad": [{"line": 17, "offset_bytes": 3021, "fault": "does not fit its checksum"}]}

on one line, for the main journal and for that of each job that is not over; *state* is
missing, clean, torn or corrupt. `cat` prints lines as they are,
which is JSON already; a character in a damaged line that could act on a terminal is escaped.
"""

import os
import time
from contextlib import closing
from pathlib import Path

import click

from resumed import alive, durable, jobsalvage, owner, salvage, view
from resumed.errors import EXIT_NEEDS_A_PERSON, JournalCorruptError, LockedError
from resumed.ledger import Ledger
from resumed.listing import plural
from resumed.model import Record
from resumed.paths import Paths
from resumed.salvage import Findings
from resumed.site import Site, json_option, pass_site, show_json, warn
from resumed.text import escape, size
from resumed.view import Follower, RefusedError

_SHOWN_LIMIT = 20
_PAUSE_SECONDS = 0.1
_NEEDS_REPAIR = frozenset({"corrupt", "missing"})  # a job that was opened has a journal


@click.group("journal")
def journal_command() -> None:
    """Look after the journal, the file that knows what happened."""


@journal_command.command("check")
@json_option
@pass_site
def check_command(site: Site, *, as_json: bool) -> int:
    """Read the whole journal and say whether it is clean, torn or corrupt; changes nothing.

    The journals of jobs are read, too, and told of when they are not clean.
    """
    try:
        state, found, told = _judge(site.paths)
        damaged = state == "corrupt"
        if as_json:
            show_json(_document(site.paths.journal, state, found))
        else:
            _show_findings(site.paths.journal, told, found)
        for path in _of_jobs(site.paths, readable=not damaged):
            state, found = jobsalvage.judge(path)
            damaged |= state in _NEEDS_REPAIR
            if as_json:
                show_json(_document(path, state, found))
            elif state != "clean":
                _show_findings(path, f"{state}, the journal of a job", found)
    except PermissionError as error:
        raise view.closed(site.paths.journal) from error
    if damaged and not as_json:
        click.echo(f"nothing was changed; with the daemon down: '{site.command} journal repair'")
    return EXIT_NEEDS_A_PERSON if damaged else 0


def _of_jobs(paths: Paths, *, readable: bool) -> list[Path]:
    """List the journals of jobs, those included that are missing, if the main one tells."""
    return jobsalvage.journals(paths.jobs, view.look(paths).ledger if readable else Ledger())


def _document(path: Path, state: str, found: Findings) -> Record:
    bad = [
        {"line": each.line, "offset_bytes": each.offset_bytes, "fault": each.fault}
        for each in found.bad
    ]
    facts = {"records": len(found.records), "generation": found.generation or None}
    return {"file": str(path), "state": state, **facts, "bad": bad}


def _show_findings(path: Path, told: str, found: Findings) -> None:
    click.echo(f"{path}: {told}")
    for each in found.bad[:_SHOWN_LIMIT]:
        click.echo(f"{path}:{each.line}: at byte {each.offset_bytes}: {each.fault}")
    if len(found.bad) > _SHOWN_LIMIT:
        click.echo(f"and {len(found.bad) - _SHOWN_LIMIT} more bad lines")


def _judge(paths: Paths) -> tuple[str, Findings, str]:
    """Say how the journal is: a word, what was found, and a sentence."""
    try:
        found = salvage.examine(paths.journal)
    except FileNotFoundError:
        view.look(paths)  # knows whether there ought to be one
        return "missing", Findings(), "there is none yet; nothing was ever run here"
    count = plural(len(found.records), "record")
    if found.corrupt:
        return "corrupt", found, f"corrupt: {count} sound, {plural(len(found.bad), 'line')} not"
    ledger = Ledger()
    with view.open_journal(paths.journal) as file:
        view.tally(paths.journal, file, ledger)
    if found.bad:
        up = alive.probe(paths.lock, time.time()).state != "down"
        told = "being written just now" if up else "the next start cuts and keeps it"
        return "torn", found, f"torn: {count}, then an unfinished group; {told}"
    return "clean", found, f"clean: {count}, generation {found.generation}"


@journal_command.command("repair")
@pass_site
def repair_command(site: Site) -> int:
    """Save from a corrupt journal what is certain; the old one is kept beside it.

    Items whose last state is unclear go on hold: look at them with ls --state held, then
    release or remove them. A job whose own journal was damaged goes to failed/, and a retry
    runs those of its parts that are not recorded done. Refused while the daemon runs.
    """
    paths = site.paths
    owner.become_owner(paths.state)  # what is written belongs to the daemon's user
    lock = _lock(paths)
    try:
        _repair_main(site)
        for path in _of_jobs(paths, readable=True):
            if jobsalvage.judge(path)[0] in _NEEDS_REPAIR:
                aside = jobsalvage.set_aside(paths, view.look(paths).ledger, path.stem)
                done = jobsalvage.repair(path, os.urandom(4).hex(), time.time(), aside=aside)
                click.echo(f"{path}: written anew from {plural(done.records, 'sound record')}")
                if done.broken is not None:
                    click.echo(f"{done.broken}: the old one, as it was")
                place = "is in" if aside else "goes to"
                click.echo(f"its job {place} failed/: '{site.command} retry {path.stem}'")
    finally:
        os.close(lock)
    return 0


def _repair_main(site: Site) -> None:
    paths = site.paths
    try:
        state, _, told = _judge(paths)
    except JournalCorruptError as error:
        state, told = "corrupt", error.fault
    if state != "corrupt":
        click.echo(f"{paths.journal}: {told}; nothing to repair")
        return
    done = salvage.repair(paths, os.urandom(4).hex(), time.time())
    click.echo(f"{paths.journal}: written anew from {plural(done.records, 'sound record')}")
    if done.broken is not None:
        click.echo(f"{paths.state / done.broken}: the old one, as it was")
    if done.from_previous:
        click.echo("what was damaged stood in the previous journal, too: nothing is lost")
    click.echo(f"{plural(len(done.held), 'item')} on hold, as nobody knows how they stand")
    for name in done.held[:_SHOWN_LIMIT]:
        click.echo(f"  {escape(name)}")
    if len(done.held) > _SHOWN_LIMIT:
        click.echo(f"  and {len(done.held) - _SHOWN_LIMIT} more")
    if done.held:
        click.echo(f"next: '{site.command} ls --state held', then release or remove them")


def _lock(paths: Paths) -> int:
    """Keep the daemon out while the journal is exchanged.

    Raises:
        LockedError: It runs.
        RefusedError: This user may not.
    """
    try:
        folder = durable.open_folder(paths.state)
    except PermissionError as error:
        raise view.closed(paths.state) from error
    except FileNotFoundError as error:
        raise RefusedError(f"{paths.state}: is missing; there is nothing to repair") from error
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        lock = os.open(paths.lock.name, flags, 0o600, dir_fd=folder)
    except PermissionError as error:
        raise view.closed(paths.lock) from error
    finally:
        os.close(folder)
    try:
        durable.lock(lock)
    except LockedError:
        os.close(lock)
        raise
    return lock


@journal_command.command("cat")
@click.option("-f", "--follow", is_flag=True, help="Go on with what is recorded from now on.")
@pass_site
def cat_command(site: Site, *, follow: bool) -> None:
    """Print the lines of the journal, on into the file that replaces it."""
    try:
        with closing(Follower(site.paths.journal)) as follower:
            _print(follower)
            while follow:
                time.sleep(_PAUSE_SECONDS)
                _print(follower)
    except FileNotFoundError as error:
        raise RefusedError(f"{site.paths.journal}: there is none yet") from error
    except PermissionError as error:
        raise view.closed(site.paths.journal) from error
    if follower.unfinished:
        warn(f"and {size(follower.unfinished)} of an unfinished line")


def _print(follower: Follower) -> None:
    for line in follower.poll():
        shown = line.decode("latin-1").rstrip("\n")
        # A sound line is pure ASCII; what is not, was damaged.
        click.echo(shown if shown.isascii() and shown.isprintable() else escape(shown))
