"""How far a long call is, while it runs: one line, which goes away when it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module

from rich.live import Live
from rich.text import Text

from recsys.commands.output.repeating import repeating
from recsys.commands.output.terminal import plain_console

_EVERY = 0.5
"""Seconds between two looks in a notebook."""


@contextmanager
def progress_line(state: Callable[[], str], *, wanted: bool) -> Iterator[None]:
    """Show what `state` returns, again and again, in a terminal or a notebook; elsewhere nothing."""
    console = plain_console()
    if not wanted or not (console.is_terminal or console.is_jupyter):
        yield
    elif console.is_jupyter:
        with _in_notebook(state):
            yield
    else:
        with Live(get_renderable=lambda: Text(state()), console=console, transient=True):
            yield


@contextmanager
def _in_notebook(state: Callable[[], str]) -> Iterator[None]:
    """An output of the cell that is replaced; rich's own needs ipywidgets."""
    output = import_module("IPython.display").display({"text/plain": state()}, raw=True, display_id=True)
    try:
        with repeating(lambda: output.update({"text/plain": state()}, raw=True), _EVERY, "progress"):
            yield
    finally:
        output.update({"text/plain": ""}, raw=True)
