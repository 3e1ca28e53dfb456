"""Answer `why`.

With ``--json`` it prints one object for each answer::

    {"name": "a.txt", "id": null, "verdict": "open for writing",
     "sentence": "still open for writing by process 4711 (rsync)",
     "do": "it is taken when the writer closes it"}

on one line. The verdicts: ignored, left alone, open for writing, no marker, settling,
unreadable, ready, next scan, gone, daemon down, daemon hung, paused, intake paused, disk
full (all of these about a file in the inbox); pending, running, waiting, held, failed, over
(an item); done, removed, unknown (what is over, or never was).
"""

import click

from resumed import completing, glance
from resumed.site import Site, json_option, pass_site, show_json
from resumed.text import escape
from resumed.why import Inquiry


@click.command("why")
@click.argument(
    "files", nargs=-1, required=True, metavar="FILE...", shell_complete=completing.arrivals
)
@json_option
@pass_site
def why_command(site: Site, files: tuple[str, ...], *, as_json: bool) -> int:
    """Say of each FILE why it is not moving, in one line, and what to do.

    FILE is a path, a name in the inbox, or an item's name or id. Exit 1 when one is unknown.
    """
    inquiry = Inquiry(site.config(), glance.look(site.paths), site.command)
    answers = [answer for file in files for answer in inquiry.ask(file)]
    for answer in answers:
        if as_json:
            show_json(answer.document())
        else:
            remedy = f"  → {answer.do}" if answer.do else ""
            click.echo(f"{escape(answer.name)}: {answer.sentence}{remedy}")
    return 1 if any(answer.verdict == "unknown" for answer in answers) else 0
