"""A study whose rows take long: each is written when it is made, and what is written is not made again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec
from rich.box import SIMPLE_HEAD
from rich.table import Table

from recsys.commands.options.output_folder import check_out
from recsys.commands.output.steps import steps
from recsys.commands.output.terminal import plain_console, say
from recsys.commands.stopping import resumable
from recsys.debiasing.coat_study import CoatResult
from recsys.errors import file_errors
from recsys.fit.studies.fit_study import FitStudyResult
from recsys.fit.studies.returns_result import ReturnsResult
from recsys.retrieval_study.next_click.next_click_result import NextClickResult
from recsys.retrieval_study.retrieval_result import RetrievalResult
from recsys.retrieval_study.slates.slate_result import SlateResult
from recsys.search.search_study import SearchStudyResult
from recsys.simulation.selection_study import SelectionResult

Result = TypeVar(
    "Result",
    FitStudyResult,
    SearchStudyResult,
    CoatResult,
    RetrievalResult,
    NextClickResult,
    SlateResult,
    SelectionResult,
    ReturnsResult,
)


class Study(Protocol[Result]):
    """A table whose rows take long: those that are in `done` are not computed again."""

    @property
    def tasks(self) -> Sequence[object]: ...

    def empty(self) -> Result: ...

    def rows(self, done: Result, doing: Callable[[str], None]) -> Iterator[object]: ...


def computed(study: Study[Result], out: Path, name: str) -> Result:
    """The file `name` in `out` with all rows of the study, which is written after each row."""
    check_out(out)
    path = out / name
    result: Result = study.empty()
    with file_errors("the results (--out)", path):
        out.mkdir(parents=True, exist_ok=True)
        if path.exists():
            result = result.from_json(path.read_bytes())
    console = plain_console()
    with resumable(console), steps(console, len(study.tasks), len(result.rows)) as shown:
        for row in study.rows(result, shown.doing):
            result = msgspec.structs.replace(result, rows=(*result.rows, row))
            with file_errors("the results (--out)", path):
                replace_file(path, result.to_json())
            shown.advance()
    return result


def print_table(title: str, rows: list[list[str]]) -> None:
    """The first row is the head."""
    head, *rows = rows
    table = Table(*head, title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for row in rows:
        table.add_row(*row)
    plain_console().print(table)


def say_where(path: Path) -> None:
    say(plain_console(), f"Figures: {path}")


def replace_file(path: Path, data: bytes) -> None:
    """Whole or not at all."""
    beside = path.with_suffix(".tmp")
    beside.write_bytes(data)
    beside.replace(path)
