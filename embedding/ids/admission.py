"""Admission: when a new id gets an embedding row. Suffix: N ids that have none."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from embedding.hashing import uniform
from embedding.store import Admission, Ids
from embedding.value_checks import check_int
from recsys.errors import InvalidValueError

Counts = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]
PolicyState = dict[str, npt.NDArray[np.generic]]
_EPSILON = 0.05  # Monolith's: an id seen `threshold` times is admitted with probability 1 - 0.05


class AdmissionPolicy(Protocol):
    """Decides which ids without a row get one. Its memory is bounded by its constructor's arguments.

    >>> policy: AdmissionPolicy = exact_policy(Admission("count", 2), salt=np.uint64(0))
    >>> policy.admit(np.array([5, 6], np.uint64), np.array([2, 1], np.int32), step=0).tolist()
    [True, False]
    """

    @property
    def nbytes(self) -> int:
        """Bytes used for counts of candidates."""
        ...

    def admit(self, ids_N: Ids, counts_N: Counts, step: int) -> Mask:
        """Which of the distinct ids, seen `counts_N` times in this call, get a row; `step` numbers the calls."""
        ...

    def forget(self, ids_N: Ids) -> None:
        """Reset the counts of ids that now have a row; they are counted from zero once the row is gone."""
        ...

    def state(self) -> PolicyState: ...

    def restore(self, state: PolicyState) -> None:
        """Restore the state returned by `state()`."""
        ...


class _Stateless:
    nbytes = 0

    def forget(self, ids_N: Ids) -> None:
        pass

    def state(self) -> PolicyState:
        return {}

    def restore(self, state: PolicyState) -> None:
        pass


class Always(_Stateless):
    """Admits every id when it is first seen.

    >>> int(Always().admit(np.array([5, 6], np.uint64), np.ones(2, np.int32), step=0).sum())
    2
    """

    def admit(self, ids_N: Ids, counts_N: Counts, step: int) -> Mask:  # noqa: ARG002
        return np.ones(len(ids_N), bool)


class Never(_Stateless):
    """Admits no id: all read multiplexed rows, so that memory does not depend on how many there are.

    >>> int(Never().admit(np.array([5, 6], np.uint64), np.ones(2, np.int32), step=0).sum())
    0
    """

    def admit(self, ids_N: Ids, counts_N: Counts, step: int) -> Mask:  # noqa: ARG002
        return np.zeros(len(ids_N), bool)


class Probabilistic(_Stateless):
    """Monolith's rule (monolith/native_training, probabilistic filter, equal probability).

    Each occurrence admits with p = 1 - 0.05^(1/k), so that after k of them an id is admitted with probability 95 %.

    >>> policy = Probabilistic(threshold=10, salt=np.uint64(1))
    >>> ids = np.arange(10_000, dtype=np.uint64)
    >>> round(float(policy.admit(ids, np.full(10_000, 10, np.int32), step=0).mean()), 2)
    0.95
    """

    def __init__(self, threshold: int, salt: np.uint64) -> None:
        self._log_miss = np.log(_EPSILON) / threshold
        self._salt = salt

    def admit(self, ids_N: Ids, counts_N: Counts, step: int) -> Mask:
        mask: Mask = uniform(ids_N, self._salt, step) < 1 - np.exp(self._log_miss * counts_N)
        return mask


class ExactCounts:
    """Admits an id that was seen `threshold` times. Keeps a count for every id: for the reference store and tests.

    >>> policy = ExactCounts(threshold=2)
    >>> one = np.array([5], np.uint64), np.array([1], np.int32)
    >>> policy.admit(*one, step=0).tolist(), policy.admit(*one, step=1).tolist()
    ([False], [True])
    """

    def __init__(self, threshold: int) -> None:
        self._threshold = threshold
        self._counts: dict[int, int] = {}

    @property
    def nbytes(self) -> int:
        """Sixteen per count, as in a snapshot; Python's own objects take more."""
        return 16 * len(self._counts)

    def admit(self, ids_N: Ids, counts_N: Counts, step: int) -> Mask:  # noqa: ARG002
        for key, count in zip(ids_N.tolist(), counts_N.tolist(), strict=True):
            self._counts[key] = self._counts.get(key, 0) + count
        return np.array([self._counts[key] >= self._threshold for key in ids_N.tolist()], bool)

    def forget(self, ids_N: Ids) -> None:
        for key in ids_N.tolist():
            self._counts.pop(key, None)

    def state(self) -> PolicyState:
        ids = np.array(sorted(self._counts), np.uint64)
        return {"ids": ids, "counts": np.array([self._counts[i] for i in ids.tolist()], np.int64)}

    def restore(self, state: PolicyState) -> None:
        """Restore exact counts. The state of a `CountingFilter` has no ids, so counting starts again."""
        if "ids" in state:
            self._counts = dict(zip(state["ids"].tolist(), state["counts"].tolist(), strict=True))


def check_admission(admission: Admission) -> None:
    """Raises InvalidValueError for an unknown kind or a threshold below 1."""
    kinds = "always", "count", "probabilistic", "never"
    if admission.kind not in kinds:
        raise InvalidValueError(f"unknown admission kind {admission.kind!r}: choose one of {', '.join(kinds)}")
    check_int("admission threshold", admission.threshold, least=1)


def exact_policy(admission: Admission, salt: np.uint64) -> AdmissionPolicy:
    """The admission policy of a table, with unbounded counts. Raises InvalidValueError for invalid settings."""
    check_admission(admission)
    match admission.kind:
        case "always":
            return Always()
        case "never":
            return Never()
        case "probabilistic":
            return Probabilistic(admission.threshold, salt)
        case "count":
            return ExactCounts(admission.threshold)
