"""A whole sparse step, ids to updated rows, against FBGEMM's TBE on CPU: rows given, and behind MPZCH's look-up.

The peer is at its best: PyTorch allocates its rows in huge pages, as we do ours, and rows that are given lie as densely
as ours. One mix has 5 % new ids in each batch, for which our full table evicts others; the peer's rows stay given.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks._ids import BATCH, DISTRIBUTIONS, ZeroCollisionHash, batches, live_ids, quiet_imports
from benchmarks.harness import Result, Target, interleave, ratio
from embedding.local.store import LocalStore
from embedding.store import Floats, Ids, Optimizer, Table

NOW = 1_700_000_000_000
PEERS = {"rows given": "with rows given", "mpzch": "behind MPZCH"}
NEW = BATCH // 20
RULE = Optimizer("rowwise_adagrad", lr=0.05, eps=1e-8)


def filled(ids: Ids, dim: int) -> LocalStore:
    """A store whose one table is at full capacity."""
    store = LocalStore([Table("t", dim, capacity=len(ids), optimizer=RULE)])
    for part in np.array_split(ids, max(1, len(ids) // BATCH)):
        store.lookup("t", part, NOW)
    return store


def _tbe(rows: int, dim: int) -> Any:
    """FBGEMM's table-batched embedding on CPU with exact row-wise Adagrad."""
    import torch
    from fbgemm_gpu.split_embedding_configs import EmbOptimType
    from fbgemm_gpu.split_table_batched_embeddings_ops_common import EmbeddingLocation, PoolingMode
    from fbgemm_gpu.split_table_batched_embeddings_ops_training import (
        ComputeDevice,
        SplitTableBatchedEmbeddingBagsCodegen,
    )

    op = SplitTableBatchedEmbeddingBagsCodegen(
        [(rows, dim, EmbeddingLocation.HOST, ComputeDevice.CPU)],
        optimizer=EmbOptimType.EXACT_ROWWISE_ADAGRAD,
        learning_rate=RULE.lr,
        eps=RULE.eps,
        pooling_mode=PoolingMode.SUM,
    )
    with torch.no_grad():
        op.split_embedding_weights()[0].fill_(0.01)
    return op


def _gradients(dim: int) -> Floats:
    return np.random.default_rng(5).standard_normal((BATCH, dim)).astype(np.float32)


def _contenders(store: LocalStore, zch: ZeroCollisionHash, given: list[Ids], dim: int) -> dict[str, Callable[[], None]]:
    import torch

    grads = _gradients(dim)
    offsets, gradient = torch.arange(BATCH + 1), torch.from_numpy(grads)
    dense, sparse = _tbe(store.tables["t"].capacity, dim), _tbe(len(zch), dim)
    rows = [torch.from_numpy(store.peek("t", batch).rows_N) for batch in given]

    def ours() -> None:
        for batch in given:
            store.update(store.lookup("t", batch, NOW), grads)

    def rows_given() -> None:
        for known in rows:
            dense(known, offsets).backward(gradient)

    def behind_zch() -> None:
        for batch in given:
            sparse(zch.tensor(batch), offsets).backward(gradient)

    return {"ours": ours, "rows given": rows_given, "mpzch": behind_zch}


def _with_new_ids(store: LocalStore, given: list[Ids], dim: int, starts: Iterator[int]) -> Callable[[], None]:
    """Steps whose batches have 5 % ids that no batch had before."""
    grads = _gradients(dim)

    def steps() -> None:
        for known in given:
            batch = known.copy()
            batch[:NEW] = live_ids(NEW, next(starts))
            store.update(store.lookup("t", batch, NOW), grads)

    return steps


def _measured(dim: int, live: int, count: int, rounds: int) -> Iterator[tuple[str, dict[str, list[float]]]]:
    """Seconds of every contender, by mix; the mixes that evict come last, since they change what is live."""
    ids = live_ids(live)
    shuffled = np.random.default_rng(7).permutation(ids)
    store, zch = filled(shuffled, dim), ZeroCollisionHash(shuffled)
    peers, starts = {}, itertools.count(1 << 40, NEW)
    for kind in DISTRIBUTIONS:
        given = batches(ids, count, kind)
        contenders = _contenders(store, zch, given, dim)
        yield f"D {dim}, {kind}", interleave(contenders, rounds)
        peers[kind] = given, contenders["rows given"]
    for kind, (given, peer) in peers.items():
        before = store.counters("t")["evicted"]
        mix = {"ours": _with_new_ids(store, given, dim, starts), "rows given": peer}
        yield f"D {dim}, {kind}, 5 % new ids", interleave(mix, rounds)
        assert store.counters("t")["evicted"] - before >= rounds * count * NEW


def run(quick: bool) -> Result:
    """1 M live ids when quick, else 10 M at D 16 and 4 M at D 64."""
    os.environ["THP_MEM_ALLOC_ENABLE"] = "1"  # read by PyTorch when it first allocates
    quiet_imports()
    sizes = {16: 1_000_000, 64: 500_000} if quick else {16: 10_000_000, 64: 4_000_000}
    count, rounds = (4, 3) if quick else (12, 7)
    targets: list[Target] = []
    raw: dict[str, Any] = {"live": sizes, "batch": BATCH, "new in each batch": NEW}
    for dim, live in sizes.items():
        for name, seconds in _measured(dim, live, count, rounds):
            raw[name] = {who: [round(count * BATCH / s / 1e6, 2) for s in times] for who, times in seconds.items()}
            least = {"rows given": 1.0 if "new ids" in name else 1.3, "mpzch": 2.5}
            targets += [
                Target(f"{name}: times TBE {PEERS[peer]}", ratio(seconds[peer], seconds["ours"]), least[peer])
                for peer in seconds
                if peer != "ours"
            ]
    return Result("sparse_step", targets, raw)
