"""Figures of a learner on rows that it does not learn from. Shape suffixes: R rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recsys.evaluation.metrics import summarise
from recsys.fit.fit_result import Figures
from recsys.training.dense.peers import Scores
from recsys.training.learner import Learner
from streaming.encode.batch import TrainingBatch

CHUNK = 1024
"""Rows scored together."""


def scores(learner: Learner, rows: TrainingBatch) -> Scores:
    """Probabilities [R] of the rows, which are shown to the model without their labels."""
    return np.concatenate([learner.score(part) for part in rows.without_labels().cut(CHUNK)])


def figures(learner: Learner, rows: TrainingBatch) -> dict[str, Figures]:
    """By task; NaN is None."""
    return figures_of(learner.tasks, rows, scores(learner, rows))


def figures_of(tasks: Sequence[str], rows: TrainingBatch, scores_R: Scores) -> dict[str, Figures]:
    """As `figures`, of scores that are given."""
    found: dict[str, Figures] = {}
    for number, task in enumerate(tasks):
        own_R = rows.tasks_B == number
        found[task] = summarise(rows.labels_B[own_R], scores_R[own_R], rows.weights_B[own_R]).to_json()
    return found
