"""A whole sparse step, ids to updated rows, against FBGEMM's TBE on CPU: rows given, and behind MPZCH's look-up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks._ids import BATCH, DISTRIBUTIONS, ZeroCollisionHash, batches, live_ids, quiet_imports
from benchmarks.harness import Result, Target, interleave, median, ratio
from embedding.local.store import LocalStore
from embedding.store import Floats, Ids, Optimizer, Table

NOW = 1_700_000_000_000
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


def _contenders(
    store: LocalStore, zch: ZeroCollisionHash, tbe: Any, given: list[Ids], grads: Floats
) -> dict[str, Callable[[], None]]:
    import torch

    offsets, gradient = torch.arange(BATCH + 1), torch.from_numpy(grads)
    rows = [torch.from_numpy(zch(batch).copy()) for batch in given]

    def ours() -> None:
        for batch in given:
            store.update(store.lookup("t", batch, NOW), grads)

    def rows_given() -> None:
        for known in rows:
            tbe(known, offsets).backward(gradient)

    def behind_zch() -> None:
        for batch in given:
            tbe(zch.tensor(batch), offsets).backward(gradient)

    return {"ours": ours, "rows given": rows_given, "mpzch": behind_zch}


def run(quick: bool) -> Result:
    """1 M live ids when quick, else 10 M at D 16 and 4 M at D 64."""
    quiet_imports()
    sizes = {16: 1_000_000, 64: 500_000} if quick else {16: 10_000_000, 64: 4_000_000}
    count, rounds = (4, 3) if quick else (12, 7)
    targets: list[Target] = []
    raw: dict[str, Any] = {"live": sizes, "batch": BATCH}
    for dim, live in sizes.items():
        ids = live_ids(live)
        shuffled = np.random.default_rng(7).permutation(ids)
        store, zch = filled(shuffled, dim), ZeroCollisionHash(shuffled)
        tbe = _tbe(len(zch), dim)
        grads = np.random.default_rng(5).standard_normal((BATCH, dim)).astype(np.float32)
        for kind in DISTRIBUTIONS:
            given = batches(ids, count, kind)
            seconds = interleave(_contenders(store, zch, tbe, given, grads), rounds)
            name = f"D {dim}, {kind}"
            rates = {who: [count * BATCH / s / 1e6 for s in times] for who, times in seconds.items()}
            raw[name] = {who: [round(rate, 2) for rate in values] for who, values in rates.items()}
            targets += [
                Target(f"{name}: times TBE with rows given", ratio(seconds["rows given"], seconds["ours"]), 1.3),
                Target(f"{name}: times MPZCH + TBE", ratio(seconds["mpzch"], seconds["ours"]), 2.5),
            ]
            raw[name]["ours, M ids/s"] = median(rates["ours"])
        del store, zch, tbe
    return Result("sparse_step", targets, raw)
