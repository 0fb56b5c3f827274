"""Tables of models that are each fitted over several seeds, and judged on the test part."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import msgspec
import numpy as np
import pyarrow as pa

from recsys import wiring
from recsys.config.file import parse
from recsys.evaluation.result_file import ResultFile, check_settings, markdown_table
from recsys.fit.fit import Fit, fit_folder
from recsys.fit.fit_result import FitResult
from recsys.fit.fit_state import FitState
from recsys.fit.fitted_figures import fitted_learner
from recsys.fit.scoring import figures
from recsys.fit.studies.study_rows import StudyRows

LEARNING = """\
labels = "held"
wait = "1s"
lateness = "0s"
batch_size = 1024
optimizer = "adam"
dense_lr = 0.001
sparse_lr = 0.001"""
"""Of `[training]`: labels are known at once, and all weights learn at one rate."""


@dataclass(frozen=True, slots=True)
class Studied:
    """A model: its own settings, and the AUC and log loss that were published of it."""

    settings: str
    auc: float | None = None
    log_loss: float | None = None


@dataclass(frozen=True, slots=True)
class FitTable:
    """What a table compares."""

    name: str
    """Of its command, folder and file."""
    title: str
    settings: str
    """The text of `recsys.toml`. `{own}` stands for a model's own settings, `{name}` for a folder, beside `{seed}`
    and `{epochs}`."""
    models: Mapping[str, Studied]
    epochs: int
    """At most."""

    def settings_of(self, model: str, seed: int) -> str:
        """The text for one fit."""
        folder = model.lower().replace(" ", "-").replace("+", "-plus")
        own = self.models[model].settings
        return self.settings.format(own=own, name=folder, seed=seed, epochs=self.epochs)


class FitRow(msgspec.Struct, frozen=True, kw_only=True):
    """A fit, judged on the test part. `epochs` were learned, of which `best` (from 1) is the one judged."""

    model: str
    seed: int
    auc: float
    log_loss: float
    epochs: int
    best: int
    minutes: float | None
    """Of one core, at the rate of the steps of the process that ended the fit; None if another one did them all."""


class FitStudyResult(ResultFile, frozen=True):
    """Rows in the order in which they were made."""

    made_by: ClassVar[str] = "recsys reproduce"
    settings: dict[str, str]
    """By model."""
    rows: tuple[FitRow, ...] = ()

    def table(self, of: FitTable) -> list[list[str]]:
        """Head and rows: means and standard deviations over the seeds, beside what was published of any model."""
        auc = ["published"] if any(studied.auc is not None for studied in of.models.values()) else []
        loss = ["published"] if any(studied.log_loss is not None for studied in of.models.values()) else []
        found = [["model", "seeds", "AUC", *auc, "log loss", *loss, "epochs", "minutes a fit"]]
        for name, studied in of.models.items():
            rows = [row for row in self.rows if row.model == name]
            if rows:
                minutes = [row.minutes for row in rows if row.minutes is not None]
                found.append([
                    name,
                    str(len(rows)),
                    spread([row.auc for row in rows]),
                    *([_figure(studied.auc)] if auc else []),
                    spread([row.log_loss for row in rows]),
                    *([_figure(studied.log_loss)] if loss else []),
                    f"{np.mean([row.epochs for row in rows]):.0f}",
                    f"{np.mean(minutes):.0f}" if minutes else "-",
                ])  # fmt: skip
        return found

    def markdown(self, of: FitTable) -> str:
        return markdown_table(self.table(of), words=1)


class FitStudy:
    """Fits of a table to `events`, below `folder`; what was interrupted goes on from its newest checkpoint."""

    def __init__(
        self, table: FitTable, events: Iterable[pa.RecordBatch], folder: Path, seeds: int, stop: threading.Event
    ) -> None:
        self.table = table
        self._folder, self._stop = folder, stop
        self._rows = StudyRows(events, folder)
        self.tasks = [(name, seed) for seed in range(seeds) for name in table.models]

    def empty(self) -> FitStudyResult:
        return FitStudyResult(settings={name: self.table.settings_of(name, 0) for name in self.table.models})

    def rows(self, done: FitStudyResult, doing: Callable[[str], None]) -> Iterator[FitRow]:
        """The rows that `done` has not, until `stop` is set. Raises InvalidValueError if it is of other settings."""
        check_settings(done.settings, self.empty().settings)
        have = {(row.model, row.seed) for row in done.rows}
        for name, seed in self.tasks:
            if (name, seed) not in have and (row := self._row(name, seed, doing)) is not None:
                yield row

    def _row(self, name: str, seed: int, doing: Callable[[str], None]) -> FitRow | None:
        if self._stop.is_set():
            return None
        doing(f"{name}, seed {seed}")
        config = parse(self.table.settings_of(name, seed), self._folder / "recsys.toml")
        parts = self._rows.parts(config)
        fit = Fit(config, wiring.learner(config), parts, fit_folder(config))
        result, minutes = self._run(fit, lambda epoch: doing(f"{name}, seed {seed}, epoch {epoch}"))
        if result is None:
            return None
        judged = figures(fitted_learner(config), parts.test)["click"]
        return FitRow(
            model=name,
            seed=seed,
            auc=float(judged["auc"] or "nan"),
            log_loss=float(judged["log_loss"] or "nan"),
            epochs=len(result.epochs),
            best=result.best + 1,
            minutes=minutes,
        )

    def _run(self, fit: Fit, epoch: Callable[[int], None]) -> tuple[FitResult | None, float | None]:
        """The fit, and the minutes that all its steps would have taken at the rate of those done here."""

        def report(state: FitState) -> None:
            if state.batch == 0:
                epoch(len(state.epochs) + 1)

        fit.resume()
        before, began = fit.steps, time.perf_counter()
        result = fit.run(self._stop, report)
        here = fit.steps - before
        return result, (time.perf_counter() - began) / 60 * fit.steps / here if here else None


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation."""
    deviation = f" ± {np.std(values):.4f}" if len(values) > 1 else ""
    return f"{np.mean(values):.4f}{deviation}"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
