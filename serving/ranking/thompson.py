"""Thompson sampling over a few draws from the posterior of the scores, by which propensities are exact.

Shape suffixes: C candidates, K shown positions, D draws.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from recsys.errors import InvalidValueError
from serving.ranking.exploration import Floats, Positions, log_odds
from streaming.events.schema import Value

DRAWS = 32
Bools = npt.NDArray[np.bool_]


class Posterior:
    """What the score of an item may be, given how often it was shown: the feature `evidence` of the items.

    The log odds are normal, with those of the score p as their mean and the precision 1 + n p (1 - p): what n labels
    tell of log odds (their Fisher information), and a unit prior. A missing n is 0.
    """

    def __init__(self, evidence: str, draws: int = DRAWS) -> None:
        self.evidence, self._draws = evidence, draws

    def draw(self, scores_C: Floats, shown_C: Sequence[Value], rng: np.random.Generator) -> Floats:
        """Scores [D, C], each row one draw of all."""
        odds_C = log_odds(scores_C)
        p_C, times_C = _probabilities(odds_C), np.array([_times(one) for one in shown_C])
        deviations_C = 1 / np.sqrt(1 + times_C * p_C * (1 - p_C))
        return _probabilities(odds_C + deviations_C * rng.standard_normal((self._draws, len(odds_C))))


class Thompson:
    """Fills each position with the best item that is left by one of the draws, any of them alike; or, with probability
    `epsilon`, with any item that is left. Scores are those of draws, [D, C].

    The propensity of an item is so (1 - epsilon) times the share of the draws by which it is best, plus epsilon over
    the items that are left: exact given the draws, which were made before anything was chosen. Without an epsilon an
    item that is best by no draw would have none, and estimates of policies that show it would be too small.

    >>> scores_DC = np.array([[0.1, 0.9, 0.5], [0.6, 0.2, 0.4]])
    >>> Thompson(0.3).order(scores_DC, 2, np.random.default_rng(0))
    (array([0, 1]), array([0.45, 0.5 ]))
    """

    def __init__(self, epsilon: float) -> None:
        if not 0 < epsilon <= 1:
            raise InvalidValueError(f"epsilon is {epsilon}: it must be above 0 and at most 1")
        self._epsilon = epsilon

    def order(self, scores_DC: Floats, limit: int, rng: np.random.Generator) -> tuple[Positions, Floats]:
        order_DC = np.argsort(-scores_DC, axis=1, kind="stable")
        draws_D, next_D = np.arange(len(order_DC)), np.zeros(len(order_DC), np.int64)
        left_C = np.ones(order_DC.shape[1], np.bool_)
        chosen, chances = list[int](), list[float]()
        for _ in range(min(limit, len(left_C))):
            best_D = order_DC[draws_D, next_D]
            while not left_C[best_D].all():
                next_D += ~left_C[best_D]
                best_D = order_DC[draws_D, next_D]
            item, chance = self._drawn(best_D, left_C, rng)
            left_C[item] = False
            chosen.append(item)
            chances.append(chance)
        return np.array(chosen, np.int64), np.array(chances)

    def draw(self, utilities_DC: Floats, rng: np.random.Generator) -> tuple[int, float]:
        return self._drawn(utilities_DC.argmax(1), np.isfinite(utilities_DC[0]), rng)

    def _drawn(self, best_D: Positions, left_C: Bools, rng: np.random.Generator) -> tuple[int, float]:
        """One of the items that are left, where each draw has a best one, and its propensity."""
        anyone = rng.random() < self._epsilon
        item = int(rng.choice(np.flatnonzero(left_C) if anyone else best_D))
        share = float((best_D == item).mean())
        return item, (1 - self._epsilon) * share + self._epsilon / int(left_C.sum())


def _probabilities(odds: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-odds)))


def _times(found: Value) -> float:
    """How often an item was shown."""
    return max(float(found), 0.0) if isinstance(found, int | float) else 0.0
