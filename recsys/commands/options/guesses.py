"""Options that override what is guessed of files."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import get_args

import click

from streaming.ingest.mapping.event_time import Unit

_GUESSES = (
    click.option("--user", metavar="COLUMN", help="The column of the user."),
    click.option("--item", metavar="COLUMN", help="The column of the item, or of the list of items."),
    click.option("--time", metavar="COLUMN", help="The column of the time."),
    click.option("--label", metavar="COLUMN", help="The column that says what became of a shown item."),
    click.option("--positive", metavar="VALUE", multiple=True, help="What means yes in that column; may be repeated."),
    click.option("--request", metavar="COLUMN", help="The column with the id of the list."),
    click.option("--time-unit", type=click.Choice(get_args(Unit)), help="The unit of the times; d for days."),
    click.option("--time-format", metavar="FORMAT", help='Of times in text, such as "%d.%m.%Y %H:%M".'),
    click.option("--origin", metavar="TIME", help="What numbers of times count from, or from when on days follow."),
    click.option("--start", metavar="TIME", help="When the first row happened, in files without times (ISO 8601)."),
)


def guesses(command: Callable[..., None]) -> Callable[..., None]:
    """Add these options to a command."""
    return functools.reduce(lambda made, option: option(made), reversed(_GUESSES), command)
