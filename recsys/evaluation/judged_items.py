"""Progressive figures of shown items whose silence may turn out to be early. Shape suffix: R rows."""

from __future__ import annotations

from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from recsys.evaluation.progressive import Progressive

Keys = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


class Judged:
    """`Progressive` over shown items: each is judged once, by the score before it was first learned from.

    An item that was counted as silent turns positive when its click comes, with the score it had. Because silence is
    given out at the pace of clicks, the items counted have the true rate of clicks at every moment. The scores of the
    last `capacity` silent items are remembered for that.

    >>> judged = Judged()
    >>> judged.add(keys_R=np.array([1, 2]), labels_R=np.zeros(2), scores_R=np.array([.9, .2]), weights_R=np.ones(2))
    >>> judged.turn_positive(np.array([1, 7]), np.ones(2)).tolist()  # 7 was never seen
    [True, False]
    >>> judged.figures.summary().auc
    1.0
    """

    def __init__(self, bins: int = 1 << 14, capacity: int = 1_000_000) -> None:
        self.figures = Progressive(bins)
        self._capacity = capacity
        self._silent: dict[int, float] = {}

    def add(self, keys_R: Keys, labels_R: npt.ArrayLike, scores_R: Floats, weights_R: npt.ArrayLike) -> None:
        """Count rows. Raises ValueError for what `Progressive.add` refuses."""
        labels_R = np.asarray(labels_R)
        self.figures.add(labels_R, scores_R, weights_R)
        silent_R = labels_R == 0
        self._silent.update(zip(keys_R[silent_R].tolist(), scores_R[silent_R].tolist(), strict=True))
        for key in list(islice(self._silent, max(0, len(self._silent) - self._capacity))):
            del self._silent[key]

    def turn_positive(self, keys_R: Keys, weights_R: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Count silent items as positive; False for those not remembered, which stay as they are."""
        scores = [self._silent.pop(key, None) for key in keys_R.tolist()]
        known_R = np.array([score is not None for score in scores], np.bool_)
        known = np.array([score for score in scores if score is not None], np.float64)
        self.figures.turn_positive(known, np.asarray(weights_R)[known_R])
        return known_R

    def state(self) -> dict[str, npt.NDArray[Any]]:
        keys = np.fromiter(self._silent, np.int64, len(self._silent))
        scores = np.fromiter(self._silent.values(), np.float64, len(self._silent))
        return self.figures.state() | {"silent_keys": keys, "silent_scores": scores}

    def restore(self, state: dict[str, npt.NDArray[Any]]) -> None:
        """Restore what `state` returned. Raises ValueError for another number of bins."""
        self.figures.restore(state)
        self._silent = dict(zip(state["silent_keys"].tolist(), state["silent_scores"].tolist(), strict=True))
