"""Training in epochs: the learner's own step over shuffled rows, judged on others after each epoch.

A checkpoint is written in the background every `checkpoint_every` steps and after each epoch, and another of the best
epoch so far. Which rows a step learns from depends on the seed and the number of the step alone, so that a fit that was
killed goes on from its newest checkpoint to the same bits.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from recsys.config.schema import Config
from recsys.errors import RecsysError, StateError
from recsys.evaluation.metrics import log_losses
from recsys.evaluation.result_settings import settings_of
from recsys.fit.fit_result import Epoch, FitResult
from recsys.fit.fit_state import FILE, FitState
from recsys.fit.parts import Parts
from recsys.fit.schedule import best_epoch, has_ended, rate
from recsys.fit.scoring import figures
from recsys.training.checkpoint.background_checkpoint import BackgroundCheckpoint
from recsys.training.checkpoint.checkpoints import Checkpoints
from recsys.training.checkpoint.manifest import part_folder
from recsys.training.learner import Learner
from streaming.encode.batch import TrainingBatch


class Fit:
    """Fits `learner`, which is new, to `parts`; its checkpoints are in `folder`.

    `crash` is called with the name of each point at which a test may kill the process.
    """

    def __init__(
        self,
        config: Config,
        learner: Learner,
        parts: Parts,
        folder: Path,
        crash: Callable[[str], None] = lambda _point: None,
    ) -> None:
        self._config, self._learner, self._parts, self._crash = config, learner, parts, crash
        self._checkpoints = Checkpoints(folder, keep=2, crash=crash)
        self._best = best_checkpoints(folder)
        self._checkpoint = BackgroundCheckpoint(self._checkpoints, self._capture, lambda _cursor: None)
        self.state = FitState.new(config, parts)

    @property
    def steps(self) -> int:
        """Since the fit began."""
        return self._learner.steps

    @property
    def batches(self) -> int:
        """Of an epoch; the last one may have fewer rows."""
        return -(-len(self._parts.training) // self._config.training.batch_size)

    @property
    def has_ended(self) -> bool:
        """Whether no epoch is left to learn."""
        fit = self._config.fit
        return has_ended(self._figures(), fit.epochs, fit.patience)

    def resume(self) -> Path | None:
        """Restore the newest complete checkpoint and return its folder; None if there is none.

        Raises StateError if it is of other settings or rows, or if all are damaged.
        """
        self._checkpoints.remove_unfinished()
        self._best.remove_unfinished()
        path = self._checkpoints.newest()
        if path is not None:
            try:
                written = FitState.read(part_folder(path))
                written.check(self.state)
                self._learner.load(part_folder(path))
            except (RecsysError, ValueError, OSError) as error:
                raise StateError(f"{path} cannot be resumed from: {error}") from error
            self.state, self._checkpoint.saved_step = written, self._learner.steps
        return path

    def run(self, stop: threading.Event, report: Callable[[FitState], None] = lambda _state: None) -> FitResult | None:
        """Learn until the end; None if `stop` was set before, with a checkpoint to go on from.

        `report` is called after each batch and epoch.
        """
        try:
            while not self.has_ended:
                if not self._epoch(stop, report):
                    self._save()
                    return None
        finally:
            self._checkpoint.settle()
        return self.result()

    def result(self) -> FitResult:
        """Of the epochs so far; there is at least one."""
        best = best_epoch(self._figures())
        return FitResult(
            rows=self._parts.rows, epochs=self.state.epochs, best=best, config=settings_of(self._config, "fit")
        )

    def load_best(self) -> None:
        """Give the learner the weights of the best epoch. Raises StateError if no epoch has ended."""
        load_best(self._learner, self._best)

    def _epoch(self, stop: threading.Event, report: Callable[[FitState], None]) -> bool:
        """Learn from the rest of the epoch; False if `stop` was set before its end."""
        state, config = self.state, self._config
        factor = rate(config.fit.schedule, self._figures(), config.fit.epochs)
        self._learner.scale_rates(factor)
        rows, size = self._parts.training.take(self._order(len(state.epochs))), config.training.batch_size
        for batch in rows.cut(size, first=state.batch * size):
            if stop.is_set():
                return False
            self._learn(batch)
            report(state)
        self._judge(factor)
        report(state)
        return True

    def _order(self, epoch: int) -> npt.NDArray[np.int64]:
        """The numbers of the training rows, in the order of an epoch."""
        return np.random.default_rng([self._config.training.seed, epoch]).permutation(len(self._parts.training))

    def _learn(self, batch: TrainingBatch) -> None:
        scores_B = self._learner.step(batch, scored=False)
        losses_B = log_losses(np.asarray(batch.labels_B, np.float64), np.asarray(scores_B, np.float64))
        self.state.loss += float(batch.weights_B @ losses_B)
        self.state.weight += float(batch.weights_B.sum())
        self.state.batch += 1
        self._crash("step")
        if self._checkpoint.written:
            self._checkpoint.settle()
        if self._checkpoint.must_retry or self._learner.steps % self._config.training.checkpoint_every == 0:
            self._checkpoint.settle((self._learner.steps, ()))

    def _judge(self, factor: float) -> None:
        """The end of an epoch: figures, and a checkpoint if it is the best one."""
        state = self.state
        found = figures(self._learner, self._parts.validation)
        state.epochs.append(Epoch(self._learner.steps, factor, state.loss / state.weight, found))
        state.batch, state.loss, state.weight = 0, 0.0, 0.0
        self._checkpoint.settle()  # the learner can be captured once at a time
        if best_epoch(self._figures()) == len(state.epochs) - 1:
            with self._best.writing(self._learner.steps) as folder:
                self._capture(folder)()
        self._crash("best written")
        self._save()

    def _save(self) -> None:
        """Write a checkpoint now. Raises CheckpointError."""
        self._checkpoint.settle()
        if self._learner.steps:
            self._checkpoint.begin(self._learner.steps, ())
            self._checkpoint.finish()

    def _capture(self, folder: Path) -> Callable[[], None]:
        """Copy the current state; the function returned writes it into `folder`."""
        described = self.state.to_json()
        write_learner = self._learner.begin_save(folder)

        def write() -> None:
            write_learner()
            (folder / FILE).write_bytes(described)

        return write

    def _figures(self) -> list[float]:
        """Of the epochs so far, lower is better."""
        metric = self._config.fit.metric
        sign = -1.0 if metric == "auc" else 1.0
        found = (epoch.validation[self._learner.tasks[0]][metric] for epoch in self.state.epochs)
        return [float("nan") if value is None else sign * value for value in found]


def fit_folder(config: Config) -> Path:
    """Where a fit keeps its own checkpoints, below those that online training goes on from."""
    return config.training.checkpoints / "fit"


def best_checkpoints(folder: Path) -> Checkpoints:
    """The checkpoint of the best epoch of the fit in `folder`."""
    return Checkpoints(folder / "best", keep=1)


def load_best(learner: Learner, best: Checkpoints) -> FitState:
    """Give `learner` the weights of the best epoch, and return the state of the fit after it. Raises StateError."""
    path = best.newest()
    if path is None:
        raise StateError(f"{best.folder} has no checkpoint: run `recsys fit` first, until an epoch has ended")
    learner.load(part_folder(path))
    return FitState.read(part_folder(path))
