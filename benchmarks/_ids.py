"""Shared by the embedding benchmarks: ids, batches, the machine's limit, and peers with full tables."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from embedding.hashing import mix
from embedding.kernels.bits import U64, jit, prefetch_far
from embedding.lazy_arrays import lazy_zeros
from embedding.store import Ids

BATCH = 65536
DISTRIBUTIONS = ("zipf", "uniform")


def live_ids(n: int, start: int = 0) -> Ids:
    """n distinct ids over 63 bits (peers take signed ones)."""
    return mix(np.arange(start, start + n, dtype=np.uint64)) & np.uint64(2**63 - 1)


def batches(ids: Ids, count: int, kind: str, batch: int = BATCH) -> list[Ids]:
    """Batches drawn from live ids: uniformly, or by a bounded Zipf law with exponent 1.05."""
    rng = np.random.default_rng(1)
    if kind == "uniform":
        drawn = rng.integers(0, len(ids), count * batch)
    else:
        weights = np.cumsum(np.arange(1, len(ids) + 1, dtype=np.float64) ** -1.05)
        drawn = np.searchsorted(weights / weights[-1], rng.random(count * batch)).clip(0, len(ids) - 1)
    return list(ids[drawn].reshape(count, batch))


@jit
def _modify_lines(table: Any, lines: Any, ahead: Any) -> None:
    for i in range(len(lines)):
        if i + ahead < len(lines):
            prefetch_far(table, U64(lines[i + ahead]) * U64(8))
        table[U64(lines[i]) * U64(8)] += U64(i)


class Limit:
    """Random reads and writes of 64-byte lines, `count` batches of given addresses: no table can be faster."""

    def __init__(self, nbytes: int, count: int) -> None:
        self._table = lazy_zeros(nbytes // 8, np.uint64)
        self._table[:] = 1
        self._lines = np.random.default_rng(2).integers(0, nbytes // 64, (count, BATCH)).astype(np.uint32)

    def __call__(self) -> None:
        for lines in self._lines:
            _modify_lines(self._table, lines, 64)


@jit
def _fill(identities: Any, ids: Any, starts: Any) -> None:
    for i in range(len(ids)):
        slot = starts[i]
        while identities[slot] != -1:
            slot = slot + 1 if slot + 1 < len(identities) else 0
        identities[slot] = ids[i]


class ZeroCollisionHash:
    """FBGEMM's id look-up, with which MPZCH reads.

    Its CPU operator only reads, so the table is filled by linear probing from the slot that it names for an absent id.
    """

    def __init__(self, ids: Ids, load: float = 0.7) -> None:
        quiet_imports()
        import torch

        self._torch = torch
        identities = np.full(int(len(ids) / load), -1, np.int64)
        self._identities = torch.from_numpy(identities).view(-1, 1)
        starts = np.concatenate([self(part) for part in np.array_split(ids, max(1, len(ids) // BATCH))])
        _fill(identities, ids.view(np.int64), starts)

    def __len__(self) -> int:
        return len(self._identities)

    def __call__(self, ids: Ids) -> npt.NDArray[np.int64]:
        slots: npt.NDArray[np.int64] = self.tensor(ids).numpy()
        return slots

    def tensor(self, ids: Ids) -> Any:
        given = self._torch.from_numpy(ids.view(np.int64))
        return self._torch.ops.fbgemm.zero_collision_hash(
            input=given, identities=self._identities, max_probe=128, circular_probe=True, exp_hours=-1, readonly=True
        )[0]


def quiet_imports() -> None:
    """Load the peers; their warnings about missing GPUs are suppressed."""
    warnings.filterwarnings("ignore")
    logging.disable(logging.CRITICAL)
    import fbgemm_gpu  # noqa: F401
    import torch

    torch.set_num_threads(1)
