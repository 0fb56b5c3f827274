"""Curves of training as events that TensorBoard shows."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recsys.training.progress import Progress
from recsys.training.publishing.trainer_report import figures_of

EVERY = 100
"""Steps between two values of a curve."""


class TensorBoard:
    """Writes into `folder`, a run of TensorBoard: `tensorboard --logdir FOLDER` shows its curves.

    With the first value those of the same and later steps are hidden, which a process before wrote there, and which it
    did not live to keep in a checkpoint.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: Any = None

    def write(self, step: int, values: Mapping[str, float | None]) -> None:
        """Add a value to each curve, by its name; what is None or not finite is left out."""
        if self._writer is None:
            from tensorboardX import SummaryWriter

            suffix = f".{os.getpid()}.{step}"  # files are named by the second, and one would overwrite the other
            self._writer = SummaryWriter(str(self._folder), purge_step=step, filename_suffix=suffix)
        for name, value in values.items():
            if value is not None and math.isfinite(value):
                self._writer.add_scalar(name, value, step)

    def follow(self, step: int, progress: Progress) -> None:
        """Write the recent figures of online training, every `EVERY` steps."""
        if step % EVERY:
            return
        values: dict[str, float | None] = {"rows_per_second": progress.rows_per_second(), "lag": progress.lag_events}
        for task in progress.tasks:
            values |= {f"{task}/{name}": value for name, value in figures_of(progress.recent(task)).items()}
        self.write(step, values)

    def close(self) -> None:
        """Write what is still in memory."""
        if self._writer is not None:
            self._writer.close()
