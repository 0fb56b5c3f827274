"""Which worker owns an id: the one definition for snapshots and for TorchRec. Suffix: N ids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from embedding.hashing import mix
from embedding.store import Ids
from embedding.value_checks import check_int
from recsys.errors import InvalidValueError

Owners = npt.NDArray[np.int64]
BUCKETS = 1 << 12
"""The default number of buckets: enough for any number of workers up to BUCKETS / PER_RANK."""
PER_RANK = 16
"""The least number of buckets per rank where the ranks do not divide the buckets."""


class Sharding(Protocol):
    """Assigns every id to one of `ranks` workers. The same ids give the same owners in every process.

    >>> sharding: Sharding = HashBuckets(ranks=4)
    >>> sharding.owner(np.arange(4, dtype=np.uint64)).tolist()
    [3, 3, 1, 3]
    """

    @property
    def ranks(self) -> int: ...

    def owner(self, ids_N: Ids) -> Owners:
        """The rank [N] in [0, ranks) that owns each id."""
        ...


@dataclass(frozen=True, slots=True)
class HashBuckets:
    """Ids fall into `buckets` by their mixed value; each rank owns consecutive buckets, as TorchRec's row-wise shards.

    Keep `buckets` fixed while the number of ranks changes, and choose at least 16 times the largest number of ranks:
    ranks then differ in their numbers of buckets by at most 1/16. Fewer buckets are valid only if the ranks divide
    them. Raises InvalidValueError for numbers that do not satisfy this.

    >>> HashBuckets(ranks=2, buckets=2).owner(np.arange(4, dtype=np.uint64)).tolist()
    [1, 1, 0, 1]
    """

    ranks: int
    buckets: int = BUCKETS

    def __post_init__(self) -> None:
        check_int("the number of shards", self.ranks, least=1)
        check_int("the number of buckets", self.buckets, least=1)
        if self.buckets % self.ranks and self.buckets < PER_RANK * self.ranks:
            least = PER_RANK * self.ranks
            raise InvalidValueError(
                f"{self.buckets} buckets for {self.ranks} shards: choose a multiple of {self.ranks} or at least {least}"
            )

    def owner(self, ids_N: Ids) -> Owners:
        """The rank [N] of each id."""
        return bucket_of(mix(ids_N), self.buckets) * self.ranks // self.buckets


def bucket_of(mixed_N: Ids, buckets: int) -> npt.NDArray[np.int64]:
    """The bucket [N] of mixed ids, as TorchRec computes it."""
    return (mixed_N % np.uint64(buckets)).astype(np.int64)
