"""A counting filter of bounded memory for admission."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from embedding.ids.admission import Always, Counts, Gate, Mask, Probabilistic
from embedding.kernels import filter as kernels
from embedding.lazy_arrays import lazy_zeros
from embedding.store import Admission, Ids

_SALT = np.uint64(0xA0761D6478BD642F)  # keeps buckets apart from the id table's segments


class CountingFilter:
    """An id is admitted when it has been seen `threshold` times (at most 255), counted in four bytes an id.

    Wrong in two ways, both bounded. An id is admitted early when one of the 16 ids counted in its bucket has its 24-bit
    fingerprint: at most 16 / 2^24, one in a million candidates. And an id is counted from zero again when 16 others of
    its bucket are seen more often before it comes back: `forgotten` counts those.

    >>> gate = CountingFilter(threshold=2, candidates=1000)
    >>> one = np.array([5], np.uint64), np.array([1], np.int32)
    >>> gate.admit(*one, draw=0).tolist(), gate.admit(*one, draw=1).tolist()
    ([False], [True])
    """

    def __init__(self, threshold: int, candidates: int) -> None:
        if not 1 <= threshold <= 255:
            raise ValueError(f"admission threshold is {threshold}: the filter counts to 255, choose 1 to 255")
        self._threshold = threshold
        self._slots = lazy_zeros(max(1, candidates // kernels.WAYS) * kernels.WAYS, np.uint32)
        self.forgotten = 0

    @property
    def nbytes(self) -> int:
        return self._slots.nbytes

    def admit(self, ids_N: Ids, counts_N: Counts, draw: int) -> Mask:  # noqa: ARG002
        admitted_N = np.zeros(len(ids_N), bool)
        self.forgotten += kernels.count(self._slots, _SALT, ids_N, counts_N, self._threshold, admitted_N)
        return admitted_N

    def forget(self, ids_N: Ids) -> None:
        kernels.forget(self._slots, _SALT, ids_N)

    def state(self) -> dict[str, npt.NDArray[np.generic]]:
        return {"slots": self._slots.copy(), "forgotten": np.array([self.forgotten])}

    def restore(self, state: dict[str, npt.NDArray[np.generic]]) -> None:
        """Take over counts, exact ones too; those of a filter of another size start again, for buckets differ."""
        if "ids" in state:
            self.admit(state["ids"].astype(np.uint64), state["counts"].astype(np.int32), draw=0)
        elif state["slots"].shape == self._slots.shape:
            self._slots[:] = state["slots"]
            self.forgotten = int(state["forgotten"].item())


def gate_of(admission: Admission, salt: np.uint64, candidates: int) -> Gate:
    """The gate of a table, in bounded memory."""
    match admission.kind:
        case "always":
            return Always()
        case "probabilistic":
            if admission.threshold < 1:
                raise ValueError(f"admission threshold is {admission.threshold}: choose 1 or more")
            return Probabilistic(admission.threshold, salt)
        case "count":
            return CountingFilter(admission.threshold, candidates)
    raise ValueError(f"admission kind {admission.kind!r} is unknown: choose always, count or probabilistic")
