"""What a command is doing, while it is not known how long it takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TimeElapsedColumn

from recsys.commands.output.terminal import plain_column


@contextmanager
def working(console: Console) -> Iterator[Callable[[str], None]]:
    """A line that moves and shows for how long; what is yielded takes what is being done."""
    columns = SpinnerColumn(), plain_column("{task.description}"), TimeElapsedColumn()
    with Progress(*columns, console=console) as shown:
        task = shown.add_task("")
        yield lambda doing: shown.update(task, description=doing)
