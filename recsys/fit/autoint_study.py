"""The ML-1M table of AutoInt's paper (Song et al., CIKM 2019, tables 2, 4 and 5): each model fitted over several seeds.

Its protocol: parts of 80, 10 and 10 % at random, batches of 1,024, Adam with a rate of .001 for all weights, at most 50
epochs, of which the one with the least log loss on the validation part is judged on the test part.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import msgspec
import numpy as np
import pyarrow as pa

from recsys import wiring
from recsys.config.file import parse
from recsys.config.schema import Config
from recsys.datasets.ml1m_autoint import FIELDS
from recsys.errors import InvalidValueError
from recsys.evaluation.result_file import ResultFile, markdown_table
from recsys.fit.fit import Fit, fit_folder
from recsys.fit.fit_result import FitResult
from recsys.fit.fit_state import FitState
from recsys.fit.fitted_figures import evaluate
from recsys.fit.parts import read_parts

SETTINGS = """
[log]
url = "file:log"
[features]
dim = 16
{fields}
[model]
{model}
[training]
positive = ["like"]
labels = "held"
wait = "1s"
lateness = "0s"
batch_size = 1024
optimizer = "adam"
dense_lr = 0.001
sparse_lr = 0.001
averaging = 0.0
seed = {seed}
checkpoints = "{name}-{seed}"
[fit]
split = "random"
epochs = {epochs}
patience = 4
"""
EPOCHS = 50
_AUTOINT = 'name = "autoint"\nlayers = 3\nheads = 2\nunits = 64\ndropout = 0.4\nembedding_dropout = 0.1\n'
_PERCEPTRON = "mlp = [400, 400]\nmlp_dropout = 0.5\n"


@dataclass(frozen=True, slots=True)
class Studied:
    """A model: the text of its `[model]`, and the AUC and log loss that the paper has for it (means of ten runs)."""

    settings: str
    auc: float
    log_loss: float


MODELS = {
    "LR": Studied('name = "lr"', 0.7716, 0.4424),
    "FM": Studied('name = "fm"\nmlp = []', 0.8252, 0.3998),
    "DeepFM": Studied(f'name = "fm"\n{_PERCEPTRON}', 0.8437, 0.3846),
    "AutoInt": Studied(f"{_AUTOINT}mlp = []", 0.8456, 0.3797),
    "AutoInt without residual": Studied(f"{_AUTOINT}mlp = []\nresidual = false", 0.8299, 0.3959),
    "AutoInt+": Studied(f"{_AUTOINT}{_PERCEPTRON}", 0.8488, 0.3753),
}
"""The perceptron is that of the paper's code, with its default dropout."""


class AutoIntRow(msgspec.Struct, frozen=True, kw_only=True):
    """A fit, judged on the test part. `epochs` were learned, of which `best` (from 1) is the one judged."""

    model: str
    seed: int
    auc: float
    log_loss: float
    epochs: int
    best: int
    minutes: float | None
    """Of one core, at the rate of the steps of the process that ended the fit; None if another one did them all."""


class AutoIntResult(ResultFile, frozen=True):
    """Rows in the order in which they were made."""

    made_by: ClassVar[str] = "recsys reproduce autoint"
    settings: dict[str, str]
    """By model."""
    rows: tuple[AutoIntRow, ...] = ()

    def table(self) -> list[list[str]]:
        """Head and rows: means and standard deviations over the seeds, beside the paper's means."""
        found = [["model", "seeds", "AUC", "published", "log loss", "published", "epochs", "minutes a fit"]]
        for name, studied in MODELS.items():
            rows = [row for row in self.rows if row.model == name]
            if rows:
                minutes = [row.minutes for row in rows if row.minutes is not None]
                found.append([
                    name,
                    str(len(rows)),
                    _spread([row.auc for row in rows]),
                    f"{studied.auc:.4f}",
                    _spread([row.log_loss for row in rows]),
                    f"{studied.log_loss:.4f}",
                    f"{np.mean([row.epochs for row in rows]):.0f}",
                    f"{np.mean(minutes):.0f}" if minutes else "-",
                ])  # fmt: skip
        return found

    def markdown(self) -> str:
        return markdown_table(self.table(), words=1)


class AutoIntStudy:
    """Fits to `events`, below `folder`; what was interrupted goes on from its newest checkpoint."""

    def __init__(self, events: pa.Table, folder: Path, seeds: int, stop: threading.Event, epochs: int = EPOCHS) -> None:
        self._events, self._folder, self._stop, self._epochs = events, folder, stop, epochs
        self.tasks = [(name, seed) for seed in range(seeds) for name in MODELS]

    def empty(self) -> AutoIntResult:
        return AutoIntResult(settings={name: self._settings(name, 0) for name in MODELS})

    def rows(self, done: AutoIntResult, doing: Callable[[str], None]) -> Iterator[AutoIntRow]:
        """The rows that `done` has not, until `stop` is set. Raises InvalidValueError if it is of other settings."""
        if done.settings != self.empty().settings:
            raise InvalidValueError("the result there is of other settings: name another folder in --out")
        have = {(row.model, row.seed) for row in done.rows}
        for name, seed in self.tasks:
            if (name, seed) not in have and (row := self._row(name, seed, doing)) is not None:
                yield row

    def _row(self, name: str, seed: int, doing: Callable[[str], None]) -> AutoIntRow | None:
        if self._stop.is_set():
            return None
        doing(f"{name}, seed {seed}")
        config = parse(self._settings(name, seed), self._folder / "recsys.toml")
        self._ingest(config)
        log = wiring.event_log(config)
        try:
            fit = Fit(config, wiring.learner(config), read_parts(config, log), fit_folder(config))
            result, minutes = self._run(fit, lambda epoch: doing(f"{name}, seed {seed}, epoch {epoch}"))
            if result is None:
                return None
            judged = evaluate(config, log).tasks["click"]
        finally:
            log.close()
        return AutoIntRow(
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

    def _settings(self, name: str, seed: int) -> str:
        folder = name.lower().replace(" ", "-").replace("+", "-plus")
        return SETTINGS.format(fields=FIELDS, model=MODELS[name].settings, name=folder, seed=seed, epochs=self._epochs)

    def _ingest(self, config: Config) -> None:
        """Write the log, unless it is complete."""
        complete = self._folder / "ingested"
        if not complete.exists():
            shutil.rmtree(self._folder / "log", ignore_errors=True)
            log = wiring.event_log(config)
            try:
                for batch in self._events.to_batches(max_chunksize=16_384):
                    log.append(batch)
            finally:
                log.close()
            complete.touch()


def _spread(values: list[float]) -> str:
    spread = f" ± {np.std(values):.4f}" if len(values) > 1 else ""
    return f"{np.mean(values):.4f}{spread}"
