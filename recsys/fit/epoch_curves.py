"""The curves of a fit while it goes on, for TensorBoard."""

from __future__ import annotations

from recsys.fit.fit_state import FitState
from recsys.training.tensorboard import EVERY, TensorBoard

_METRICS = ("auc", "log_loss", "calibration", "normalised_entropy")


class EpochCurves:
    """Writes to `board` the log loss of the training part every `EVERY` steps, and all figures after each epoch."""

    def __init__(self, board: TensorBoard) -> None:
        self._board = board

    def follow(self, steps: int, state: FitState) -> None:
        """After each batch and each epoch; `steps` since the fit began."""
        if state.batch:
            if steps % EVERY == 0 and state.weight:
                self._board.write(steps, {"training/log_loss_in_epoch": state.loss / state.weight})
            return
        epoch = state.epochs[-1]
        self._board.write(epoch.steps, {"training/log_loss": epoch.training_log_loss, "training/rate": epoch.rate})
        for task, found in epoch.validation.items():
            self._board.write(epoch.steps, {f"validation_{task}/{name}": found[name] for name in _METRICS})
