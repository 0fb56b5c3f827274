"""`recsys reproduce TABLE`: the tables of docs/, from the public data they need."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec
import numpy as np
import pyarrow as pa
from rich.box import SIMPLE_HEAD
from rich.table import Table

from recsys.commands.options.output_folder import check_out
from recsys.commands.output.steps import steps
from recsys.commands.output.terminal import plain_console, say
from recsys.commands.stopping import STOPPED, resumable, stopping
from recsys.datasets.coat import coat as read_coat
from recsys.datasets.holding import holding
from recsys.datasets.ml1m_autoint import ml1m_autoint
from recsys.datasets.ml1m_by_time import ml1m_by_time
from recsys.datasets.ml1m_stream import ml1m_stream
from recsys.debiasing.coat_study import CoatResult, CoatStudy
from recsys.errors import file_errors
from recsys.fit.studies.autoint_table import AUTOINT
from recsys.fit.studies.fit_study import FitStudy, FitStudyResult, FitTable
from recsys.fit.studies.histories_table import HISTORIES
from recsys.fit.studies.unified_table import UNIFIED
from recsys.off_policy.open_bandit_study import open_bandit_study
from recsys.retrieval_study.next_click.next_click_result import NextClickResult
from recsys.retrieval_study.next_click.next_click_study import NextClickStudy, globo_periods
from recsys.retrieval_study.retrieval_fits import RetrievalStudy
from recsys.retrieval_study.retrieval_result import RetrievalResult
from recsys.retrieval_study.slates.slate_result import MERGED, RERANKED, SlateResult
from recsys.retrieval_study.slates.slate_study import SlateStudy
from recsys.search.search_study import SearchStudy, SearchStudyResult
from recsys.search.search_tables import DNIS, IHAS
from recsys.simulation.selection_study import SelectionResult, SelectionStudy

Result = TypeVar(
    "Result",
    FitStudyResult,
    SearchStudyResult,
    CoatResult,
    RetrievalResult,
    NextClickResult,
    SlateResult,
    SelectionResult,
)

FIGURES = {"auc": "AUC", "ndcg": "NDCG@5", "ndcg_with_positive": "NDCG@5, users with a positive", "f1": "F1@5"}


class Study(Protocol[Result]):
    """A table whose rows take long: those that are in `done` are not computed again."""

    @property
    def tasks(self) -> Sequence[object]: ...

    def empty(self) -> Result: ...

    def rows(self, done: Result, doing: Callable[[str], None]) -> Iterator[object]: ...


def coat(data: Path, *, seeds: int, out: Path) -> None:
    """Write `coat.json` into `out` after each method; what is there already is not done again.

    At the end `weights.json`, `weights.md` and `weights.svg` of what the weights do.
    """
    study = CoatStudy(read_coat(data), seeds)
    result = _computed(study, out, "coat.json")
    weights = study.weights()
    for name in dict.fromkeys(row.table for row in result.rows):
        plain_console().print(_table(name, result))
    _print("What the weights do (logistic propensities)", weights.table())
    with file_errors("the results (--out)", out):
        _replace(out / "weights.json", weights.to_json())
        _replace(out / "weights.md", weights.markdown().encode())
        _replace(out / "weights.svg", weights.plot().encode())
    _say_where(out / "coat.json")


def selection(*, seeds: int, out: Path) -> None:
    """Write `selection.json` into `out` after each method, and print it."""
    result = _computed(SelectionStudy(seeds), out, "selection.json")
    _print("Debiasing where the truth is known", result.table())
    _say_where(out / "selection.json")


def autoint(data: Path, *, seeds: int, out: Path) -> None:
    """Write `autoint.json` into `out` after each fit, whose checkpoints are in `autoint` there."""
    _fitted(AUTOINT, _without_threes(data), seeds, out)


def histories(data: Path, *, seeds: int, out: Path) -> None:
    """As `autoint`, with `histories.json`."""
    with holding("ml-1m", data):
        events = ml1m_stream(data)
    _fitted(HISTORIES, events, seeds, out)


def unified(data: Path, *, seeds: int, out: Path) -> None:
    """As `autoint`, with `unified.json`."""
    _fitted(UNIFIED, _without_threes(data), seeds, out)


def dnis(data: Path, *, seeds: int, out: Path) -> None:
    """Write `dnis.json` into `out` after each search, which is kept in `dnis` there."""
    _searched(DNIS, data, seeds, out)


def ihas(data: Path, *, seeds: int, out: Path) -> None:
    """As `dnis`, with `ihas.json`."""
    _searched(IHAS, data, seeds, out)


def _without_threes(data: Path) -> list[pa.RecordBatch]:
    """The events of MovieLens 1M as AutoInt's paper has them: ratings of 3 are left out."""
    with holding("ml-1m", data):
        events = ml1m_autoint(data)
    return list(events.to_batches(max_chunksize=16_384))


def _searched(table: FitTable, data: Path, seeds: int, out: Path) -> None:
    study = SearchStudy(table, _without_threes(data), out / table.name, seeds)
    result = _computed(study, out, f"{table.name}.json")
    _print(table.title, result.table())
    _say_where(out / f"{table.name}.json")


def _fitted(table: FitTable, events: Iterable[pa.RecordBatch], seeds: int, out: Path) -> None:
    path = out / f"{table.name}.json"
    with stopping() as stop:
        study = FitStudy(table, events, out / table.name, seeds, stop)
        result = _computed(study, out, path.name)
    _print(table.title, result.table(table))
    _say_where(path)
    if len(result.rows) < len(study.tasks):
        say(plain_console(), "Stopped before the end. Run it again to go on from here.")
        sys.exit(STOPPED)


def open_bandit(data: Path, *, out: Path) -> None:
    """Write `open_bandit.json` into `out`, and print it."""
    result = open_bandit_study(data)
    check_out(out)
    path = out / "open_bandit.json"
    with file_errors("the results (--out)", path):
        out.mkdir(parents=True, exist_ok=True)
        _replace(path, result.to_json())
    _print("Open Bandit: clicks per 1,000 items shown", result.table())
    _say_where(path)


def slates(data: Path, *, seeds: int, out: Path) -> None:
    """Write `slates.json` into `out` after each row, and at the end `slates.md` and `slates.svg`."""
    with holding("ml-1m", data):
        rated = ml1m_by_time(data)
    result = _computed(SlateStudy(rated, seeds), out, "slates.json")
    tables = {RERANKED: "Lists varied by genre", MERGED: "Lists merged of sources, one of them biased"}
    for name, title in tables.items():
        _print(title, result.table(name))
    with file_errors("the results (--out)", out):
        _replace(out / "slates.md", "\n".join(map(result.markdown, tables)).encode())
        _replace(out / "slates.svg", result.plot().encode())
    _say_where(out / "slates.json")


def retrieval(data: Path, *, seeds: int, out: Path) -> None:
    """Write `retrieval.json` into `out` after each fit, and print it."""
    with holding("ml-1m", data):
        rated, earlier = ml1m_by_time(data), ml1m_by_time(data, validation=True)
    result = _computed(RetrievalStudy(rated, earlier, seeds), out, "retrieval.json")
    _print("MovieLens 1M by time", result.table())
    _print("Further figures", result.further())
    _say_where(out / "retrieval.json")


def next_click(data: Path, *, seeds: int, out: Path) -> None:
    """Write `next_click.json` into `out` after each method, and at the end `next_click.md` and `next_click.svg`."""
    with holding("globo", data):
        test, validation = globo_periods(data / "clicks.parquet")
    result = _computed(NextClickStudy(test, validation, seeds), out, "next_click.json")
    _print("Next clicks on Globo.com: found among 20 articles", result.table())
    with file_errors("the results (--out)", out):
        _replace(out / "next_click.md", result.markdown().encode())
        _replace(out / "next_click.svg", result.plot().encode())
    _say_where(out / "next_click.json")


def _computed(study: Study[Result], out: Path, name: str) -> Result:
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
                _replace(path, result.to_json())
            shown.advance()
    return result


def _print(title: str, rows: list[list[str]]) -> None:
    head, *rows = rows
    table = Table(*head, title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for row in rows:
        table.add_row(*row)
    plain_console().print(table)


def _say_where(path: Path) -> None:
    say(plain_console(), f"Figures: {path}")


def _replace(path: Path, data: bytes) -> None:
    """Whole or not at all."""
    beside = path.with_suffix(".tmp")
    beside.write_bytes(data)
    beside.replace(path)


def _table(name: str, result: CoatResult) -> Table:
    table = Table("method", "l2", *FIGURES.values(), title=f"Coat: {name} ({result.seeds} seeds)")
    for row in result.rows:
        if row.table == name:
            values = [row.figures[figure] for figure in FIGURES]
            table.add_row(row.method, f"{row.l2}", *(f"{np.mean(v):.4f} ± {np.std(v):.4f}" for v in values))
    return table
