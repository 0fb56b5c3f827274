"""How far a fit has come: what a checkpoint of it has beside the learner."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from recsys.config.schema import Config
from recsys.config.sections.learning.fit import FitSection
from recsys.config.sections.learning.training import TrainingSection
from recsys.errors import StateError
from recsys.evaluation.result_settings import settings_of
from recsys.fit.fit_result import Epoch
from recsys.fit.parts import Parts

FILE = "fit.json"


class Split(msgspec.Struct, frozen=True):
    """What decides which rows are learned from."""

    split: str
    validation: float
    test: float
    seed: int

    @staticmethod
    def of(section: FitSection, seed: int) -> Split:
        return Split(section.split, section.validation, section.test, seed)


class FitState(msgspec.Struct):
    """The place in the present epoch, and the figures of the epochs before."""

    split: Split
    training: dict[str, Any]
    """The settings of `[training]` that decide what is learned."""
    rows: dict[str, int]
    end: int | None
    epochs: list[Epoch] = []
    batch: int = 0
    """Batches of the present epoch that were learned."""
    loss: float = 0.0
    """Sum over their rows of weight times log loss, and of the weights:"""
    weight: float = 0.0

    @staticmethod
    def new(config: Config, parts: Parts) -> FitState:
        training = settings_of(config)["training"]
        return FitState(Split.of(config.fit, config.training.seed), training, parts.rows, parts.end)

    @staticmethod
    def read(folder: Path) -> FitState:
        """Raises StateError if there is none in the folder."""
        try:
            return msgspec.json.decode((folder / FILE).read_bytes(), type=FitState)
        except (OSError, msgspec.DecodeError) as error:
            raise StateError(f"{folder} is not of `recsys fit`: {error}") from None

    def to_json(self) -> bytes:
        return msgspec.json.encode(self)

    def check(self, present: FitState) -> None:
        """Raise StateError unless `present`, a new state, is of the same rows and settings."""
        self.check_split(present.split)
        known = TrainingSection().model_dump(mode="json") | self.training  # an earlier release had fewer settings
        if changed := [name for name, value in present.training.items() if known[name] != value]:
            raise StateError(
                f"it began with other settings of [training]: {', '.join(changed)}. Restore them, or name an empty "
                "folder in [training] checkpoints"
            )
        if (self.rows, self.end) != (present.rows, present.end):
            raise StateError(
                f"it learned from a log with {sum(self.rows.values()):,} rows, which now has "
                f"{sum(present.rows.values()):,}: give --until the same TIME before the first event since, or name an "
                "empty folder in [training] checkpoints"
            )

    def check_split(self, present: Split) -> None:
        """Raise StateError if other rows would be learned from and judged."""
        if self.split != present:
            raise StateError(
                f"it was split by {_words(self.split)}, and [fit] and training.seed now say {_words(present)}: restore "
                "them, or name an empty folder in [training] checkpoints"
            )


def _words(split: Split) -> str:
    return f"{split.split}, validation = {split.validation:g}, test = {split.test:g}, seed = {split.seed}"
