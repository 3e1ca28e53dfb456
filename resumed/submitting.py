"""Submit a job of files that stay where they are: `submit`.

With ``--json`` it prints ``{"name": "submitted-20261122T120000-1f0c9b.jsonl", "parts": 3}``.
"""

import json
import os
import time
from pathlib import Path

import click

from resumed import durable, records
from resumed.errors import UsageError
from resumed.model import JSON, Record
from resumed.rules import Rules
from resumed.site import Site, json_option, pass_site, show_json
from resumed.text import escape


@click.command("submit")
@click.option("--each", "paths", multiple=True, metavar="PATH", help="A file for a part; repeat.")
@click.argument("more", nargs=-1, metavar="[PATH...]", type=click.Path())
@click.option("--meta", "metadata", multiple=True, metavar="KEY=VALUE", help="Told to the reduce.")
@click.option("--name", default=None, help="The job's name; must match [job] match.")
@json_option
@pass_site
def submit_command(  # noqa: PLR0913 - one for each option
    site: Site,
    paths: tuple[str, ...],
    more: tuple[str, ...],
    metadata: tuple[str, ...],
    name: str | None,
    *,
    as_json: bool,
) -> None:
    """Make a job of files that stay where they are: a part for each, with its "path".

    Prints the name of the job. A VALUE that is JSON is taken as such.
    """
    config = site.config()
    if config.job is None:
        raise UsageError(f"{config.file}: has no [job], so nothing can be submitted")
    name = name or f"submitted-{time.strftime('%Y%m%dT%H%M%S')}-{os.urandom(3).hex()}.jsonl"
    if Rules(config.job.match).ignored_by(name) or name.lower().endswith(".csv") or "/" in name:
        raise UsageError(f"{name}: must match [job] match, be no .csv, and no path")
    chosen = [os.path.abspath(path) for path in (*paths, *more)]  # noqa: PTH100 - resolves no link
    missing = [path for path in chosen if not Path(path).is_file()]
    if missing or not chosen:
        raise UsageError(f"{missing[0]}: is no file" if missing else "name at least one file")
    told = dict(map(_pair, metadata))
    lines: list[Record] = [records.about(told)]
    lines += [{"path": path} | ({config.job.id: path} if config.job.id else {}) for path in chosen]
    content = "".join(json.dumps(line) + "\n" for line in lines).encode()
    folder = durable.open_folder(site.paths.inbox)
    try:
        durable.drop(folder, name, (content,))
    finally:
        os.close(folder)
    if as_json:
        show_json({"name": name, "parts": len(chosen)})
    else:
        click.echo(escape(name))


def _pair(text: str) -> tuple[str, JSON]:
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise UsageError(f"{text}: --meta wants KEY=VALUE")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value
