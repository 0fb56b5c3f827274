"""Counts of candidates by bucket: divided as their buckets are, and restored only into filters of their form."""

from __future__ import annotations

import numpy as np
import pytest

from embedding.ids.admission import PolicyState
from embedding.torchrec.processes.bucket_counts import BucketCounts

IDS = np.arange(1, 9, dtype=np.uint64)
ONCE = np.ones(len(IDS), np.int32)


def counts(candidates: int = 64, owned: int = 4) -> BucketCounts:
    """That admit an id when it is seen for the second time."""
    return BucketCounts(2, candidates, buckets=4, first=0, owned=owned)


def test_ids_seen_before_a_restart_are_admitted_after_it() -> None:
    before, after = counts(), counts()
    assert not before.admit(IDS, ONCE, step=0).any()
    after.restore(before.state())
    assert after.admit(IDS, ONCE, step=1).all()


@pytest.mark.parametrize(
    "state",
    [
        counts(candidates=128).state(),
        counts(owned=3).state(),
        {"slots": np.full(50, 1, np.uint32), "forgotten": np.zeros(1, np.int64)},
        {"ids": IDS, "counts": np.ones(len(IDS), np.int64)},
    ],
    ids=["larger filters", "fewer buckets", "no filters of one size", "exact counts"],
)
def test_counts_of_another_form_are_dropped(state: PolicyState) -> None:
    after = counts()
    after.restore(state)
    assert not after.admit(IDS, ONCE, step=1).any()
    assert after.admit(IDS, ONCE, step=2).all()
