"""When a new id gets a row. Suffix: N ids that have none."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from embedding.hashing import uniform
from embedding.store import Admission, Ids

Counts = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]
_EPSILON = 0.05  # Monolith's: an id seen `threshold` times is admitted with probability 1 - 0.05


class Gate(Protocol):
    """Decides on ids that have no row. Its memory is bounded by its constructor's arguments.

    >>> gate: Gate = exact_gate(Admission("count", 2), salt=np.uint64(0))
    >>> gate.admit(np.array([5, 6], np.uint64), np.array([2, 1], np.int32), draw=0).tolist()
    [True, False]
    """

    @property
    def nbytes(self) -> int:
        """What it needs to remember candidates."""
        ...

    def admit(self, ids_N: Ids, counts_N: Counts, draw: int) -> Mask:
        """Which of the distinct ids, seen `counts_N` times now, may have a row; `draw` numbers the calls."""
        ...

    def forget(self, ids_N: Ids) -> None:
        """These ids have a row now: when it goes, they are counted from zero."""
        ...

    def state(self) -> dict[str, npt.NDArray[np.generic]]: ...

    def restore(self, state: dict[str, npt.NDArray[np.generic]]) -> None: ...


class _Stateless:
    nbytes = 0

    def forget(self, ids_N: Ids) -> None:
        pass

    def state(self) -> dict[str, npt.NDArray[np.generic]]:
        return {}

    def restore(self, state: dict[str, npt.NDArray[np.generic]]) -> None:
        pass


class Always(_Stateless):
    """Every id, at first sight.

    >>> int(Always().admit(np.array([5, 6], np.uint64), np.ones(2, np.int32), draw=0).sum())
    2
    """

    def admit(self, ids_N: Ids, counts_N: Counts, draw: int) -> Mask:  # noqa: ARG002
        return np.ones(len(ids_N), bool)


class Probabilistic(_Stateless):
    """Monolith's rule (monolith/native_training, probabilistic filter, equal probability).

    Each sighting admits with p = 1 - 0.05^(1/k), so that after k sightings an id is in with probability 95 %.

    >>> gate = Probabilistic(threshold=10, salt=np.uint64(1))
    >>> ids = np.arange(10_000, dtype=np.uint64)
    >>> round(float(gate.admit(ids, np.full(10_000, 10, np.int32), draw=0).mean()), 2)
    0.95
    """

    def __init__(self, threshold: int, salt: np.uint64) -> None:
        self._log_miss = np.log(_EPSILON) / threshold
        self._salt = salt

    def admit(self, ids_N: Ids, counts_N: Counts, draw: int) -> Mask:
        mask: Mask = uniform(ids_N, self._salt, draw) < 1 - np.exp(self._log_miss * counts_N)
        return mask


class ExactCounts:
    """An id is admitted when it has been seen `threshold` times. Remembers every id: for the reference and for tests.

    >>> gate = ExactCounts(threshold=2)
    >>> one = np.array([5], np.uint64), np.array([1], np.int32)
    >>> gate.admit(*one, draw=0).tolist(), gate.admit(*one, draw=1).tolist()
    ([False], [True])
    """

    def __init__(self, threshold: int) -> None:
        self._threshold = threshold
        self._counts: dict[int, int] = {}

    @property
    def nbytes(self) -> int:
        """Sixteen a count, as in a snapshot; Python's own objects take more."""
        return 16 * len(self._counts)

    def admit(self, ids_N: Ids, counts_N: Counts, draw: int) -> Mask:  # noqa: ARG002
        for key, count in zip(ids_N.tolist(), counts_N.tolist(), strict=True):
            self._counts[key] = self._counts.get(key, 0) + count
        return np.array([self._counts[key] >= self._threshold for key in ids_N.tolist()], bool)

    def forget(self, ids_N: Ids) -> None:
        for key in ids_N.tolist():
            self._counts.pop(key, None)

    def state(self) -> dict[str, npt.NDArray[np.generic]]:
        ids = np.array(sorted(self._counts), np.uint64)
        return {"ids": ids, "counts": np.array([self._counts[i] for i in ids.tolist()], np.int64)}

    def restore(self, state: dict[str, npt.NDArray[np.generic]]) -> None:
        """Take over exact counts; a filter has forgotten which ids its counts are of, so those start again."""
        if "ids" in state:
            self._counts = dict(zip(state["ids"].tolist(), state["counts"].tolist(), strict=True))


def exact_gate(admission: Admission, salt: np.uint64) -> Gate:
    """The gate of a table, with unbounded counts."""
    if admission.threshold < 1:
        raise ValueError(f"admission threshold is {admission.threshold}: an id is seen at least once, choose 1 or more")
    match admission.kind:
        case "always":
            return Always()
        case "probabilistic":
            return Probabilistic(admission.threshold, salt)
        case "count":
            return ExactCounts(admission.threshold)
    raise ValueError(f"admission kind {admission.kind!r} is unknown: choose always, count or probabilistic")
