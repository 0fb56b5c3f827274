"""Admission by count in bounded memory. Suffix: N ids that have no row."""

from __future__ import annotations

from collections.abc import Sequence

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

SECTIONS = 240
"""Of a table's filter. Each has the ids of one remainder, so processes of a number that divides this own whole ones."""
_SALT = np.uint64(0xA0761D6478BD642F)  # makes buckets independent of the id table's segments


class CountingFilter:
    """Admits an id that was seen `threshold` times (at most 255), counted in four bytes per id.

    Two errors are possible, both bounded. An id is admitted early if one of the 16 ids counted in its bucket has the
    same 24-bit fingerprint: at most 16 / 2^24, one in a million candidates. And the count of an id is dropped if 16
    others of its bucket are seen more often before it comes back: `forgotten` is the number of dropped counts.

    An id is counted in the section `mix(id) % (sections * stride) // stride`, which has room for its share of
    `candidates` or up to 15 more.

    >>> policy = CountingFilter(threshold=2, candidates=1000)
    >>> one = np.array([5], np.uint64), np.array([1], np.int32)
    >>> policy.admit(*one, step=0).tolist(), policy.admit(*one, step=1).tolist()
    ([False], [True])
    """

    def __init__(self, threshold: int, candidates: int, sections: int = 1, stride: int = 1) -> None:
        if not 1 <= threshold <= 255:
            raise InvalidValueError(f"admission threshold is {threshold}, choose 1 to 255: the filter counts to 255")
        self._threshold = threshold
        ways = counting_filter.WAYS
        width = max(1, -(-candidates // (ways * sections))) * ways
        self._slots = lazy_zeros(sections * width, np.uint32)
        self._where = _SALT, sections, stride
        self._shape = sections, width
        self.forgotten = 0

    @property
    def nbytes(self) -> int:
        return self._slots.nbytes

    def admit(self, ids_N: Ids, counts_N: Counts, step: int) -> Mask:  # noqa: ARG002
        admitted_N = np.zeros(len(ids_N), bool)
        seen = ids_N, counts_N, self._threshold
        self.forgotten += counting_filter.count(self._slots, *self._where, *seen, admitted_N)
        return admitted_N

    def forget(self, ids_N: Ids) -> None:
        counting_filter.forget(self._slots, *self._where, ids_N)

    def state(self) -> PolicyState:
        return {"slots": self._slots.reshape(self._shape).copy(), "forgotten": np.array([self.forgotten])}

    def restore(self, state: PolicyState) -> None:
        """Restore counts, exact ones too. Those of a filter of another size are dropped: its buckets are others."""
        if "ids" in state:
            self.admit(state["ids"].astype(np.uint64), state["counts"].astype(np.int32), step=0)
        elif state["slots"].shape == self._shape:
            self._slots[:] = state["slots"].reshape(-1)
            self.forgotten = int(state["forgotten"].item())


def bounded_policy(admission: Admission, salt: np.uint64, candidates: int, shards: int = 1) -> AdmissionPolicy:
    """The admission policy of a table, or of the ids of one of its `shards`, in bounded memory.

    `candidates` are those of the whole table. Raises InvalidValueError for invalid settings.
    """
    check_admission(admission)
    if admission.kind != "count":
        return exact_policy(admission, salt)  # the other rules keep no counts
    sections = (SECTIONS // shards, shards) if SECTIONS % shards == 0 else (1, 1)
    return CountingFilter(admission.threshold, -(-candidates // shards), *sections)


def joined(states: Sequence[PolicyState]) -> list[PolicyState]:
    """The state of one process, from those of all shards; as they are where it cannot be had."""
    if len(states) == 1 or SECTIONS % len(states) or "slots" not in states[0]:
        return list(states)
    slots = np.stack([state["slots"] for state in states], axis=1).reshape(SECTIONS, -1)
    return [{"slots": slots, "forgotten": np.sum([state["forgotten"] for state in states], axis=0)}]


def divided(states: Sequence[PolicyState], shard: int, shards: int) -> list[PolicyState]:
    """The state of one shard, from what `joined` returned for any number of them; empty where it cannot be had."""
    if len(states) == shards:
        return [states[shard]]
    slots = states[0].get("slots", np.zeros(0)) if len(states) == 1 else np.zeros(0)
    if slots.ndim < 2 or len(slots) != SECTIONS or SECTIONS % shards:
        return []
    forgotten = states[0]["forgotten"] if shard == 0 else np.zeros(1, np.int64)
    return [{"slots": slots[shard::shards], "forgotten": forgotten}]
