# ruff: noqa: INP001 - a script, no part of the package
"""Write the manual pages, the completions and the first configuration into a folder.

    python packaging/texts.py FOLDER

Everything comes from the program: commands and options from click, settings from
`resumed.reference`. What is said here is only what stands
nowhere else, so that no page can drift from what it describes.
"""

import datetime as dt
import inspect
import os
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import click
from click.shell_completion import get_completion_class

import resumed
from resumed import cli, ctl, reference
from resumed.commandline import EXIT_STATUSES

SIGNALS = {
    "SIGTERM, SIGINT": "Take nothing more, let running attempts finish for up to stop_timeout, "
    "then interrupt them. A second one interrupts now.",
    "SIGHUP": "Read the configuration again between two items; a wrong one is refused.",
}
# An older click only lets zsh know of the function, and the first Tab is answered by nothing.
AUTOLOADED = r"""if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    \1 "$@"
else
    \g<0>
fi"""
FILES = {
    "/etc/resumed/resumed.toml": "The configuration, see resumed.toml(5).",
    "/var/spool/resumed/inbox": "Files dropped here are processed.",
    "/var/spool/resumed/{done,failed,hold,out}": "Where they go, and what handlers make of them.",
    "/var/lib/resumed": "The journal, the only truth about what happened.",
    "/usr/share/doc/resumed/drop-ins": "Drop-ins that open or close the sandbox of the service.",
}


def main(folder: Path) -> None:
    """Write everything below *folder*, one subfolder for each kind."""
    pages = {
        "man/resumed.1": program_page("resumed", cli.program, SIGNALS),
        "man/resumed-ctl.1": program_page("resumed-ctl", ctl.program, {}),
        "man/resumed.toml.5": settings_page(),
        "resumed.toml": first_configuration(),
    }
    for program, command in (("resumed", cli.program), ("resumed-ctl", ctl.program)):
        pages[f"bash/{program}"] = completion("bash", program, command)
        pages[f"zsh/_{program}"] = completion("zsh", program, command)
        pages[f"fish/{program}.fish"] = completion("fish", program, command)
    for name, text in pages.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def completion(shell: str, program: str, command: click.Command) -> str:
    """Let click write the script that asks *program* for what may come next."""
    kind = get_completion_class(shell)
    if kind is None:
        raise LookupError(f"click completes nothing for {shell}")
    variable = f"_{program.replace('-', '_').upper()}_COMPLETE"
    script = kind(command, {}, program, variable).source()
    return re.sub(r"^compdef (\w+) .*", AUTOLOADED, script, flags=re.MULTILINE)


def first_configuration() -> str:
    """Show every setting and set none: the service is skipped until one is."""
    shown = reference.template("handler:process")
    return re.sub(r"^handler = .*$", '#handler = "handler:process"', shown, flags=re.MULTILINE)


# Manual pages, in mdoc(7)


def program_page(program: str, command: click.Command, signals: dict[str, str]) -> str:
    """Write the page of a program with all its commands."""
    root = click.Context(command, info_name=program)
    lines = [
        *head(program, 1, command.get_short_help_str(200)),
        *section("SYNOPSIS"),
        f".Nm {words(program)}",
        *(f".Op {words(piece)}" for piece in ["-c FILE | --home FOLDER"]),
        ".Ar command ...",
        *section("DESCRIPTION"),
        *paragraphs(command.help or ""),
        *options(command, root),
    ]
    if isinstance(command, click.Group):
        lines += section("COMMANDS")
        lines += commands(command, root)
    if signals:
        lines += [*section("SIGNALS"), *listing(signals)]
    lines += [*section("FILES"), *listing(FILES), *section("EXIT STATUS")]
    lines += listing(dict(re.findall(r"^ +([0-9]+) +(.+)$", EXIT_STATUSES, re.MULTILINE)))
    lines += [*section("SEE ALSO"), *see_also(program)]
    return "\n".join(lines) + "\n"


def commands(group: click.Group, context: click.Context) -> Iterator[str]:
    """Describe each command of *group*, and the commands below it, by its own help."""
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None or command.hidden:
            continue
        below = click.Context(command, info_name=name, parent=context)
        usage = " ".join([*path(below), *command.collect_usage_pieces(below)])
        yield f".Ss {words(usage)}"
        yield from paragraphs(command.help or "")
        yield from options(command, below)
        if isinstance(command, click.Group):
            yield from commands(command, below)


def path(context: click.Context) -> list[str]:
    """Name the commands from below the program to *context*."""
    parent = context.parent
    return [] if parent is None else [*path(parent), context.info_name or ""]


def options(command: click.Command, context: click.Context) -> list[str]:
    """List the options of *command* with what its help says of them."""
    parameters = command.get_params(context) if context.parent is None else command.params
    records = [parameter.get_help_record(context) for parameter in parameters]
    return listing({record[0]: record[1] for record in records if record})


def settings_page() -> str:
    """Write the page of the configuration file from its reference."""
    lines = [
        *head("resumed.toml", 5, "configuration of resumed"),
        *section("DESCRIPTION"),
        *paragraphs(
            "A file in TOML. An unknown key is refused with the nearest known one. Durations are "
            'written like "5min 20s" or as seconds, sizes like "64M".\n\n'
            "After a change: resumed check, then systemctl reload resumed."
        ),
        *section("SETTINGS"),
    ]
    for table, sentence in {"": "", **reference.TABLES}.items():
        if table:
            lines += [f".Ss [{words(table)}]", *paragraphs(sentence)]
        settings = [setting for setting in reference.REFERENCE if setting.table == table]
        lines += listing({setting.name: described(setting) for setting in settings})
    lines += [*section("FILES"), *listing(FILES), *section("SEE ALSO"), *see_also("resumed.toml")]
    return "\n".join(lines) + "\n"


def described(setting: reference.Setting) -> str:
    """Say of *setting* what it does, what it takes, and what it is by itself."""
    shown = f" Default: {setting.default}." if setting.default else ""
    example = f" Example: {setting.example}." if setting.example else ""
    return f"{setting.sentence} ({setting.kind}){shown}{example}"


def head(name: str, chapter: int, sentence: str) -> list[str]:
    """Begin a page; its date is that of the release, so that builds agree."""
    released = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
    date = dt.datetime.fromtimestamp(released, tz=dt.UTC)
    return [
        f".Dd {date:%B} {date.day}, {date.year}",
        f".Dt {name.upper()} {chapter}",
        f".Os resumed {resumed.__version__}",
        *section("NAME"),
        f".Nm {words(name)}",
        f".Nd {words(sentence.rstrip('.'))}",
    ]


def section(title: str) -> list[str]:
    """Begin a section."""
    return [f".Sh {title}"]


def listing(entries: dict[str, str]) -> list[str]:
    """Lay out terms with what is said of them."""
    if not entries:
        return []
    lines = [".Bl -tag -width Ds"]
    for term, text in entries.items():
        lines += [f".It Sy {words(term)}", *filled(text)]
    return [*lines, ".El"]


def paragraphs(text: str) -> list[str]:
    """Lay out a help text; what click was told not to wrap keeps its lines."""
    lines: list[str] = []
    for paragraph in inspect.cleandoc(text.split("\f", maxsplit=1)[0]).split("\n\n"):
        if paragraph.startswith("\b"):
            lines += [".Bd -literal -offset indent"]
            lines += [words(line) for line in paragraph.splitlines()[1:]]
            lines += [".Ed"]
        else:
            lines += [*([".Pp"] if lines else []), *filled(paragraph)]
    return lines


def filled(text: str) -> list[str]:
    """Write running text as mdoc wants it: each sentence begins a line."""
    sentences = re.split(r"(?<=[.!?]) +", " ".join(text.split()))
    return [
        words(line)
        for each in sentences
        for line in textwrap.wrap(each, 72, break_on_hyphens=False)
    ]


def words(text: str) -> str:
    """Escape *text* for roff: no macro, no hyphen that cannot be copied, no escape of its own."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace('"', "\\(dq")
    return re.sub(r"^(?=[.'])", r"\\&", escaped)


def see_also(own: str) -> list[str]:
    """Refer to the other pages."""
    pages = {"resumed": 1, "resumed-ctl": 1, "resumed.toml": 5, "journalctl": 1, "systemctl": 1}
    others = [(page, chapter) for page, chapter in pages.items() if page != own]
    others.sort(key=lambda other: (other[1], other[0]))
    return [
        f".Xr {words(page)} {chapter}{' ,' if (page, chapter) != others[-1] else ''}"
        for page, chapter in others
    ]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
