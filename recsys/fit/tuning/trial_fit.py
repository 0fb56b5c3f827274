"""The fit of one trial."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from recsys import wiring
from recsys.config.schema import Config
from recsys.fit.fit import Fit, best_checkpoints, load_best
from recsys.fit.parts import Parts
from recsys.fit.scoring import figures
from recsys.fit.tuning.space import Values, with_values
from recsys.fit.tuning.tune_result import TrialResult


@dataclass(frozen=True, slots=True)
class Begun:
    """A trial that is being fitted: the `number`th of `model`, from 0."""

    model: str
    number: int
    values: Values


class Fits(Protocol):
    """Where trials are fitted."""

    @property
    def at_once(self) -> int:
        """So many trials are begun before the result of any of them is known."""
        ...

    def results(self, begun: Sequence[Begun], stop: threading.Event) -> Iterator[tuple[Begun, TrialResult]]:
        """Of `at_once` trials or fewer, as they end; not of those that `stop` came before."""
        ...


class FitsHere:
    """Fits in this process, one after the other; their checkpoints are in `folder`, while they last."""

    def __init__(self, config: Config, parts: Parts, folder: Path, at_once: int = 1) -> None:
        self.at_once = at_once
        self._config, self._parts, self._folder = config, parts, folder

    def results(self, begun: Sequence[Begun], stop: threading.Event) -> Iterator[tuple[Begun, TrialResult]]:
        for one in begun:
            result = fitted(self._config, self._parts, one, self._folder, stop)
            if result is None:
                return
            yield one, result


def fitted(
    config: Config, parts: Parts, begun: Begun, folder: Path, stop: threading.Event | None = None
) -> TrialResult | None:
    """What the trial comes to; None if `stop` was set before. What is in `folder` is removed before and after."""
    config = with_values(config, begun.model, begun.values)
    shutil.rmtree(folder, ignore_errors=True)
    learner = wiring.learner(config)
    try:
        found = Fit(config, learner, parts, folder).run(stop or threading.Event())
        if found is None:
            return None
        load_best(learner, best_checkpoints(folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    validation = found.epochs[found.best].validation
    figure = validation[learner.tasks[0]][config.fit.metric]
    return TrialResult(begun.values, len(found.epochs), figure, validation, figures(learner, parts.test))
