"""Carry from command to command where the instance is, and print for all of them."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import click

from resumed import listing, place
from resumed.address import Address
from resumed.paths import Paths

if TYPE_CHECKING:
    from resumed.settings import Config


@dataclass
class Site:
    """The instance that the options mean; nothing is read before it is asked for."""

    file: Path | None
    home: Path | None

    @cached_property
    def paths(self) -> Paths:
        """Name its folders, even when its configuration is wrong.

        Raises:
            ConfigError: The file cannot be read at all.
        """
        return place.find(self.file, home=self.home)

    def config(self) -> "Config":
        """Read its whole configuration.

        Raises:
            ConfigError: It has mistakes.
        """
        from resumed import config  # noqa: PLC0415 - half of the start-up, for a few commands

        return config.load(self.file, home=self.home)

    @property
    def command(self) -> str:
        """Write how `resumed-ctl` is called for this instance, for advice."""
        return Address(self.file, self.home).ctl


pass_site = click.make_pass_decorator(Site)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object a line, in ASCII."
)


def _paint(context: click.Context, _: click.Parameter, when: str | None) -> None:
    if when is not None:
        context.color = {"always": True, "never": False}.get(when)


color_option = click.option(
    "--color",
    type=click.Choice(["auto", "always", "never"]),
    expose_value=False,
    callback=_paint,
    help="Colours: auto is on a terminal, unless NO_COLOR is set.",
)


def show(rows: Sequence[tuple[str, ...]]) -> None:
    """Print rows of columns."""
    for line in listing.columns(rows):
        show_line(line)


def show_line(line: str, colour: str | None = None) -> None:
    """Print a line: on a terminal folded where it ends, elsewhere as long as it is."""
    width = None
    if sys.stdout.isatty():
        from shutil import get_terminal_size  # noqa: PLC0415 - only for who sits at one

        width = get_terminal_size().columns
    for piece in listing.fold(line, width) if width else (line,):
        click.echo(styled(piece, colour) if colour else piece)


def show_json(value: object) -> None:
    """Print one JSON document."""
    click.echo(listing.document(value))


def warn(message: str) -> None:
    """Say something beside the answer."""
    context = click.get_current_context(silent=True)
    site = context.find_object(Site) if context else None
    told = Address(site.file, site.home).complete(message) if site else message
    click.echo(f"resumed-ctl: {told}", err=True)


def advise(hint: str) -> None:
    """Say what to do next, to a person only."""
    if sys.stdout.isatty():
        click.echo(hint, err=True)


def coloured() -> bool:
    """Tell whether colours are wanted: as --color says, else by a terminal's owner."""
    context = click.get_current_context(silent=True)
    if context is not None and context.color is not None:
        return context.color
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return sys.stdout.isatty() and not plain


def styled(shown: str, colour: str) -> str:
    """Colour *shown* where colours are wanted."""
    return click.style(shown, fg=colour) if coloured() else shown
