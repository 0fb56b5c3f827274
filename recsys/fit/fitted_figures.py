"""Figures of a fitted model on a part of the log."""

from __future__ import annotations

from typing import Literal

from recsys import wiring
from recsys.config.schema import Config
from recsys.errors import RecsysError, StateError
from recsys.evaluation.result_settings import settings_of
from recsys.fit.field_attention import watched
from recsys.fit.fit import best_checkpoints, fit_folder, load_best
from recsys.fit.fit_result import Evaluation
from recsys.fit.fit_state import Split
from recsys.fit.parts import read_parts
from recsys.fit.scoring import figures
from recsys.training.learner import Learner
from streaming.log.event_log import EventLog

Part = Literal["validation", "test"]


def evaluate(config: Config, log: EventLog, *, part: Part = "test", until: int | None = None) -> Evaluation:
    """The best epoch of `recsys fit`, judged on the `part` of the log up to `until` (event time, ms).

    The log may have grown since: rows by time move from the test part into those before, never the other way round,
    and rows by hash stay in their part. Raises StateError if nothing was fitted, or with another split or model.
    """
    learner = fitted_learner(config)
    rows = getattr(read_parts(config, log, until), part)
    with watched(learner) as attended:
        found = figures(learner, rows)
    settings = settings_of(config, "fit")
    return Evaluation(
        part=part, steps=learner.steps, tasks=found, config=settings, attention=attended.mean(learner.spec)
    )


def fitted_learner(config: Config) -> Learner:
    """The best epoch of `recsys fit`. Raises StateError if nothing was fitted, or with another split or model."""
    learner = wiring.learner(config)
    best = best_checkpoints(fit_folder(config))
    try:
        state = load_best(learner, best)
        state.check_split(Split.of(config.fit, config.training.seed))
    except (RecsysError, ValueError) as error:
        raise StateError(f"what was fitted cannot be evaluated: {error}") from error
    return learner
