"""Admission by count in bounded memory. Suffix: N ids that have no row."""

from __future__ import annotations

import numpy as np

from embedding.ids.admission import (
    AdmissionPolicy,
    Counts,
    Mask,
    PolicyState,
    check_admission,
    exact_policy,
)
from embedding.kernels import counting_filter
from embedding.lazy_arrays import lazy_zeros
from embedding.store import Admission, Ids
from recsys.errors import InvalidValueError

_SALT = np.uint64(0xA0761D6478BD642F)  # makes buckets independent of the id table's segments


class CountingFilter:
    """Admits an id that was seen `threshold` times (at most 255), counted in four bytes per id.

    Two errors are possible, both bounded. An id is admitted early if one of the 16 ids counted in its bucket has the
    same 24-bit fingerprint: at most 16 / 2^24, one in a million candidates. And the count of an id is dropped if 16
    others of its bucket are seen more often before it comes back: `forgotten` is the number of dropped counts.

    >>> policy = CountingFilter(threshold=2, candidates=1000)
    >>> one = np.array([5], np.uint64), np.array([1], np.int32)
    >>> policy.admit(*one, step=0).tolist(), policy.admit(*one, step=1).tolist()
    ([False], [True])
    """

    def __init__(self, threshold: int, candidates: int) -> None:
        if not 1 <= threshold <= 255:
            raise InvalidValueError(f"admission threshold is {threshold}, choose 1 to 255: the filter counts to 255")
        self._threshold = threshold
        ways = counting_filter.WAYS
        self._slots = lazy_zeros(max(1, candidates // ways) * ways, np.uint32)
        self.forgotten = 0

    @property
    def nbytes(self) -> int:
        return self._slots.nbytes

    def admit(self, ids_N: Ids, counts_N: Counts, step: int) -> Mask:  # noqa: ARG002
        admitted_N = np.zeros(len(ids_N), bool)
        self.forgotten += counting_filter.count(self._slots, _SALT, ids_N, counts_N, self._threshold, admitted_N)
        return admitted_N

    def forget(self, ids_N: Ids) -> None:
        counting_filter.forget(self._slots, _SALT, ids_N)

    def state(self) -> PolicyState:
        return {"slots": self._slots.copy(), "forgotten": np.array([self.forgotten])}

    def restore(self, state: PolicyState) -> None:
        """Restore counts, exact ones too. Those of a filter of another size are dropped: its buckets are others."""
        if "ids" in state:
            self.admit(state["ids"].astype(np.uint64), state["counts"].astype(np.int32), step=0)
        elif state["slots"].shape == self._slots.shape:
            self._slots[:] = state["slots"]
            self.forgotten = int(state["forgotten"].item())


def bounded_policy(admission: Admission, salt: np.uint64, candidates: int) -> AdmissionPolicy:
    """The admission policy of a table, in bounded memory. Raises InvalidValueError for invalid settings."""
    check_admission(admission)
    if admission.kind == "count":
        return CountingFilter(admission.threshold, candidates)
    return exact_policy(admission, salt)  # the other rules keep no counts
