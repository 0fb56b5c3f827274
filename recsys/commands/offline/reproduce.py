"""`recsys reproduce TABLE`: the tables of docs/, from the public data they need."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
from rich.table import Table

from recsys.commands.offline.computed_study import computed, print_table, replace_file, say_where
from recsys.commands.options.output_folder import check_out
from recsys.commands.output.terminal import plain_console, say
from recsys.commands.stopping import STOPPED, stopping
from recsys.datasets.coat import coat as read_coat
from recsys.datasets.globo import millis
from recsys.datasets.globo_returns import globo_returns
from recsys.datasets.holding import holding
from recsys.datasets.ml1m_autoint import ml1m_autoint
from recsys.datasets.ml1m_by_time import ml1m_by_time
from recsys.datasets.ml1m_stream import ml1m_stream
from recsys.debiasing.coat_study import CoatResult, CoatStudy
from recsys.errors import file_errors
from recsys.fit.studies.autoint_table import AUTOINT
from recsys.fit.studies.fit_study import FitStudy, FitTable
from recsys.fit.studies.gated_table import GATED
from recsys.fit.studies.histories_table import HISTORIES
from recsys.fit.studies.returns_study import JudgedDays, ReturnsStudy
from recsys.fit.studies.unified_table import UNIFIED
from recsys.off_policy.open_bandit_study import open_bandit_study
from recsys.retrieval_study.next_click.next_click_study import NextClickStudy, globo_periods
from recsys.retrieval_study.retrieval_fits import RetrievalStudy
from recsys.retrieval_study.slates.slate_result import MERGED, RERANKED
from recsys.retrieval_study.slates.slate_study import SlateStudy
from recsys.search.search_study import SearchStudy
from recsys.search.search_tables import DNIS, IHAS
from recsys.simulation.selection_study import SelectionStudy

FIGURES = {"auc": "AUC", "ndcg": "NDCG@5", "ndcg_with_positive": "NDCG@5, users with a positive", "f1": "F1@5"}

READERS = 8
"""Of Globo's readers one in so many has lists in the curve of returns, which takes minutes then."""


def coat(data: Path, *, seeds: int, out: Path) -> None:
    """Write `coat.json` into `out` after each method; what is there already is not done again.

    At the end `weights.json`, `weights.md` and `weights.svg` of what the weights do.
    """
    study = CoatStudy(read_coat(data), seeds)
    result = computed(study, out, "coat.json")
    weights = study.weights()
    for name in dict.fromkeys(row.table for row in result.rows):
        plain_console().print(_table(name, result))
    print_table("What the weights do (logistic propensities)", weights.table())
    with file_errors("the results (--out)", out):
        replace_file(out / "weights.json", weights.to_json())
        replace_file(out / "weights.md", weights.markdown().encode())
        replace_file(out / "weights.svg", weights.plot().encode())
    say_where(out / "coat.json")


def selection(*, seeds: int, out: Path) -> None:
    """Write `selection.json` into `out` after each method, and print it."""
    result = computed(SelectionStudy(seeds), out, "selection.json")
    print_table("Debiasing where the truth is known", result.table())
    say_where(out / "selection.json")


def autoint(data: Path, *, seeds: int, out: Path) -> None:
    """Write `autoint.json` into `out` after each fit, whose checkpoints are in `autoint` there."""
    _fitted(AUTOINT, _without_threes(data), seeds, out)


def histories(data: Path, *, seeds: int, out: Path) -> None:
    """As `autoint`, with `histories.json`."""
    _fitted(HISTORIES, _by_time(data), seeds, out)


def gated(data: Path, *, seeds: int, out: Path) -> None:
    """As `autoint`, with `gated.json`."""
    _fitted(GATED, _by_time(data), seeds, out)


def unified(data: Path, *, seeds: int, out: Path) -> None:
    """As `autoint`, with `unified.json`."""
    _fitted(UNIFIED, _without_threes(data), seeds, out)


def dnis(data: Path, *, seeds: int, out: Path) -> None:
    """Write `dnis.json` into `out` after each search, which is kept in `dnis` there."""
    _searched(DNIS, data, seeds, out)


def ihas(data: Path, *, seeds: int, out: Path) -> None:
    """As `dnis`, with `ihas.json`."""
    _searched(IHAS, data, seeds, out)


def _by_time(data: Path) -> Iterable[pa.RecordBatch]:
    """The events of the end of MovieLens 1M, whose times are exact."""
    with holding("ml-1m", data):
        return ml1m_stream(data)


def _without_threes(data: Path) -> list[pa.RecordBatch]:
    """The events of MovieLens 1M as AutoInt's paper has them: ratings of 3 are left out."""
    with holding("ml-1m", data):
        events = ml1m_autoint(data)
    return list(events.to_batches(max_chunksize=16_384))


def _searched(table: FitTable, data: Path, seeds: int, out: Path) -> None:
    study = SearchStudy(table, _without_threes(data), out / table.name, seeds)
    result = computed(study, out, f"{table.name}.json")
    print_table(table.title, result.table())
    say_where(out / f"{table.name}.json")


def _fitted(table: FitTable, events: Iterable[pa.RecordBatch], seeds: int, out: Path) -> None:
    path = out / f"{table.name}.json"
    with stopping() as stop:
        study = FitStudy(table, events, out / table.name, seeds, stop)
        result = computed(study, out, path.name)
    print_table(table.title, result.table(table))
    say_where(path)
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
        replace_file(path, result.to_json())
    print_table("Open Bandit: clicks per 1,000 items shown", result.table())
    say_where(path)


def slates(data: Path, *, seeds: int, out: Path) -> None:
    """Write `slates.json` into `out` after each row, and at the end `slates.md` and `slates.svg`."""
    with holding("ml-1m", data):
        rated = ml1m_by_time(data)
    result = computed(SlateStudy(rated, seeds), out, "slates.json")
    tables = {RERANKED: "Lists varied by genre", MERGED: "Lists merged of sources, one of them biased"}
    for name, title in tables.items():
        print_table(title, result.table(name))
    with file_errors("the results (--out)", out):
        replace_file(out / "slates.md", "\n".join(map(result.markdown, tables)).encode())
        replace_file(out / "slates.svg", result.plot().encode())
    say_where(out / "slates.json")


def retrieval(data: Path, *, seeds: int, out: Path) -> None:
    """Write `retrieval.json` into `out` after each fit, and print it."""
    with holding("ml-1m", data):
        rated, earlier = ml1m_by_time(data), ml1m_by_time(data, validation=True)
    result = computed(RetrievalStudy(rated, earlier, seeds), out, "retrieval.json")
    print_table("MovieLens 1M by time", result.table())
    print_table("Further figures", result.further())
    say_where(out / "retrieval.json")


def next_click(data: Path, *, seeds: int, out: Path) -> None:
    """Write `next_click.json` into `out` after each method, and at the end `next_click.md` and `next_click.svg`."""
    with holding("globo", data):
        test, validation = globo_periods(data / "clicks.parquet")
    result = computed(NextClickStudy(test, validation, seeds), out, "next_click.json")
    print_table("Next clicks on Globo.com: found among 20 articles", result.table())
    with file_errors("the results (--out)", out):
        replace_file(out / "next_click.md", result.markdown().encode())
        replace_file(out / "next_click.svg", result.plot().encode())
    say_where(out / "next_click.json")


def returns(data: Path, *, seeds: int, out: Path) -> None:
    """Write `returns.json` into `out` after each seed, and at the end `returns.md` and `returns.svg`."""
    with holding("globo", data):
        first, judged, end = (date(2017, 10, day) for day in (2, 7, 8))
        events = globo_returns(data / "clicks.parquet", first, end, one_in=READERS)
    named = {"from": str(first), "judged from": str(judged), "until": str(end), "readers": f"one in {READERS}"}
    result = computed(ReturnsStudy(JudgedDays(events, millis(judged, 0), named), seeds), out, "returns.json")
    print_table("Globo.com: the first of two articles", result.table())
    with file_errors("the results (--out)", out):
        replace_file(out / "returns.md", result.markdown().encode())
        replace_file(out / "returns.svg", result.plot().encode())
    say_where(out / "returns.json")


def _table(name: str, result: CoatResult) -> Table:
    table = Table("method", "l2", *FIGURES.values(), title=f"Coat: {name} ({result.seeds} seeds)")
    for row in result.rows:
        if row.table == name:
            values = [row.figures[figure] for figure in FIGURES]
            table.add_row(row.method, f"{row.l2}", *(f"{np.mean(v):.4f} ± {np.std(v):.4f}" for v in values))
    return table
