"""What one `fit` did."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from recsys.commands.output import embedding_tables
from recsys.commands.output.log_warnings import label_warnings, log_warnings
from recsys.commands.output.training_progress import uninformed
from recsys.unlearned import impaired, not_learned

if TYPE_CHECKING:
    from collections import Counter

    from recsys.config.schema import Config
    from recsys.training.trainer import Trainer


@dataclass(frozen=True)
class Fitted:
    """Figures are over all shown items since the log began, by their scores from before they were learned."""

    steps: int
    """Batches learned since the log began, and of them by this call."""
    new_steps: int
    rows: int
    """Training rows learned since the log began."""
    auc: float
    log_loss: float
    calibration: float
    """Mean score by the rate of positive labels; 1 is right."""
    positives: float
    """Rate of positive labels."""
    resumed: Path | None
    """The checkpoint that learning went on from."""
    warnings: tuple[str, ...]
    """What could not be learned from, and what was missing."""

    @staticmethod
    def of(
        config: Config, trainer: Trainer, resumed: Path | None, steps_before: int, refused_before: Counter[str]
    ) -> Fitted:
        """What `trainer` has done since it had learned `steps_before` batches."""
        total, steps = trainer.progress.total(), trainer.learner.steps
        warnings = [*log_warnings(config), *label_warnings(config, trainer.progress.labels)]
        warnings += [*uninformed(trainer.progress), *impaired(trainer.losses)]
        if lost := not_learned(trainer.outcomes, len(trainer.progress.tasks)):
            warnings.insert(0, f"Not learned from, since the log began: {lost}.")
        warnings += embedding_tables.warnings(trainer.learner.store, refused_before)
        if not trainer.progress.rows:
            warnings.insert(0, "Nothing learned: the log has no full batch of labelled items yet. Ingest more events.")
        return Fitted(
            steps=steps,
            new_steps=steps - steps_before,
            rows=trainer.progress.rows,
            auc=total.auc,
            log_loss=total.log_loss,
            calibration=total.calibration,
            positives=total.positives / total.weight if total.weight else float("nan"),
            resumed=resumed,
            warnings=tuple(warnings),
        )

    def __repr__(self) -> str:
        figures = f"AUC {self.auc:.4f}, log loss {self.log_loss:.4f}, calibration {self.calibration:.4f}"
        learned = f"{self.rows:,} rows learned in {self.steps:,} steps ({self.new_steps:,} of them now): {figures}"
        return "\n".join([learned if self.rows else "no rows learned", *self.warnings])
