"""The terminal that commands print to."""

from __future__ import annotations

from typing import IO

from rich.console import Console
from rich.progress import TextColumn

READING = "Reading the log"


def plain_console() -> Console:
    """Prints text and tables as they are, because names and values of data may look like markup, such as `[/kg]`."""
    return Console(markup=False)


def remote_console(width: int, file: IO[str] | None = None) -> Console:
    """As `plain_console`, for a terminal of another process: writes what that one will show, `width` columns wide."""
    return Console(file=file, markup=False, force_terminal=True, width=width)


def plain_column(template: str) -> TextColumn:
    """A column of a progress bar, without markup as well."""
    return TextColumn(template, markup=False)


def say(console: Console, text: str, style: str | None = None) -> None:
    """Print a line as it is, neither coloured by its content nor wrapped, so that paths can be copied."""
    console.print(text, style=style, highlight=False, soft_wrap=True)
