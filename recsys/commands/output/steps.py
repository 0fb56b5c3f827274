"""How far a command of many long steps is: a bar in a terminal, elsewhere a line for each step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

from recsys.commands.output.terminal import plain_column, say


class ShownSteps:
    """`done` of `total` steps; `bar` is shown by who makes this."""

    def __init__(self, console: Console, bar: Progress, total: int, done: int) -> None:
        self._console = console
        self._bar = bar
        self._total = total
        self._done = done
        self._task = bar.add_task("", total=total, completed=done)

    def doing(self, what: str) -> None:
        """What is done from now on."""
        self._bar.update(self._task, description=what)
        if not self._console.is_terminal:
            say(self._console, f"{self._done + 1} of {self._total}: {what}")

    def advance(self) -> None:
        """A step is done."""
        self._done += 1
        self._bar.advance(self._task)


@contextmanager
def steps(console: Console, total: int, done: int) -> Iterator[ShownSteps]:
    columns = BarColumn(), MofNCompleteColumn(), plain_column("{task.description}"), TimeElapsedColumn()
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        yield ShownSteps(console, bar, total, done)
