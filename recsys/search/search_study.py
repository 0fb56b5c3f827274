"""Tables of searches over seeds: what each method reaches at which size, beside its controls."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import msgspec
import numpy as np
import pyarrow as pa

from recsys.config.file import parse
from recsys.config.schema import Config
from recsys.evaluation.result_file import ResultFile, check_settings, markdown_table
from recsys.fit.parts import Parts
from recsys.fit.studies.fit_study import FitTable, spread
from recsys.fit.studies.study_rows import StudyRows
from recsys.search.dnis import dnis_study
from recsys.search.ihas import ihas_study
from recsys.search.ihas.ihas_result import Contender
from recsys.search.search_folder import SearchFolder

Report = Callable[[str], None]


class Reached(msgspec.Struct, frozen=True):
    """A method with so many embedding `values`, on the test part; `share` is what was asked for of all values."""

    method: str
    share: float | None
    values: int
    auc: float | None
    log_loss: float | None
    within: float | None = None
    """AUC on each group's own rows, in the mean over the rows of the test part; None if there are no groups."""


class SearchRow(msgspec.Struct, frozen=True):
    """All methods after one search. `minutes` are those of the process that ended it."""

    model: str
    seed: int
    reached: tuple[Reached, ...]
    minutes: float


class SearchStudyResult(ResultFile, frozen=True):
    """Rows in the order in which they were made."""

    made_by: ClassVar[str] = "recsys reproduce"
    settings: dict[str, str]
    """By model."""
    rows: tuple[SearchRow, ...] = ()

    def table(self) -> list[list[str]]:
        """Head and rows: means and standard deviations over the seeds, for each model, method and size."""
        found: dict[tuple[str, str, float | None], list[Reached]] = {}
        for row in self.rows:
            for one in row.reached:
                found.setdefault((row.model, one.method, one.share), []).append(one)
        sized = any(share is not None for _, _, share in found)
        grouped = any(one.within is not None for ones in found.values() for one in ones)
        head = ["model", "method", *(["share"] if sized else []), "seeds", "values", "AUC", "log loss"]
        lines = [[*head, *(["AUC within groups"] if grouped else [])]]
        for (model, method, share), ones in sorted(found.items(), key=lambda item: _order(item[0][0], item[0][2])):
            asked = "-" if share is None else f"{share:.0%}"
            lines.append([
                model,
                method,
                *([asked] if sized else []),
                str(len(ones)),
                f"{np.mean([one.values for one in ones]):,.0f}",
                _mean(one.auc for one in ones),
                _mean(one.log_loss for one in ones),
                *([_mean(one.within for one in ones)] if grouped else []),
            ])  # fmt: skip
        return lines

    def markdown(self) -> str:
        return markdown_table(self.table(), words=2)


class SearchStudy:
    """Searches of a table in `events`, by the method of its name; each is kept below `folder`, and goes on there."""

    def __init__(self, table: FitTable, events: Iterable[pa.RecordBatch], folder: Path, seeds: int) -> None:
        self.table = table
        self._folder, self._rows = folder, StudyRows(events, folder)
        self.tasks = [(name, seed) for seed in range(seeds) for name in table.models]

    def empty(self) -> SearchStudyResult:
        return SearchStudyResult(settings={name: self.table.settings_of(name, 0) for name in self.table.models})

    def rows(self, done: SearchStudyResult, doing: Report) -> Iterator[SearchRow]:
        """The rows that `done` has not. Raises InvalidValueError if it is of other settings."""
        check_settings(done.settings, self.empty().settings)
        have = {(row.model, row.seed) for row in done.rows}
        for name, seed in self.tasks:
            if (name, seed) not in have:
                yield self._row(name, seed, doing)

    def _row(self, name: str, seed: int, doing: Report) -> SearchRow:
        began, text = time.perf_counter(), self.table.settings_of(name, seed)
        config = parse(text, self._folder / "recsys.toml")
        parts = self._rows.parts(config)
        folder = SearchFolder.of(config.training.checkpoints, {"settings": text, "rows": parts.rows})
        found = METHODS[self.table.name](config, parts, lambda what: doing(f"{name}, seed {seed}: {what}"), folder)
        return SearchRow(name, seed, tuple(found), (time.perf_counter() - began) / 60)


def _dnis(config: Config, parts: Parts, report: Report, folder: SearchFolder) -> Iterator[Reached]:
    result = dnis_study.compare(config, parts, report, folder)
    yield _reached("whole", None, result.values, result.whole)
    for point in result.points:
        yield _reached(point.method, point.share, point.values, point.test)


def _ihas(config: Config, parts: Parts, report: Report, folder: SearchFolder) -> Iterator[Reached]:
    for one in ihas_study.compare(config, parts, report, folder).contenders:
        within = _within(one) if len(one.groups) > 1 else None
        yield _reached(one.method, None, one.values, one.test, within)
        if len(one.groups) > 1:
            yield _reached(f"{one.method}, calibrated", None, one.values, one.calibrated, within)


METHODS = {"dnis": _dnis, "ihas": _ihas}
"""By name of the table."""


def _within(one: Contender) -> float | None:
    """The mean over groups whose test rows have both labels, by their number of rows."""
    known = [(auc, group.rows["test"]) for group in one.groups if (auc := group.test["click"]["auc"]) is not None]
    return float(np.average([auc for auc, _ in known], weights=[rows for _, rows in known])) if known else None


def _reached(
    method: str,
    share: float | None,
    values: int,
    figures: Mapping[str, Mapping[str, float | int | None]],
    within: float | None = None,
) -> Reached:
    task = figures["click"]
    return Reached(method, share, values, task["auc"], task["log_loss"], within)


def _mean(found: Iterable[float | None]) -> str:
    """Mean and standard deviation of what is known."""
    known = [figure for figure in found if figure is not None]
    return spread(known) if known else "-"


def _order(model: str, share: float | None) -> tuple[str, float]:
    """By model, the largest share first; methods stay as they were compared."""
    return model, -2.0 if share is None else -share
