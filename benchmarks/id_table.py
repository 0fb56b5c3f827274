"""Ids to rows: looking up and touching live ids, beside TorchRec's managed collision and FBGEMM's operator.

Like with like: our module beside TorchRec's, both as `ManagedCollisionModule`s that train and evict, and our table
beside FBGEMM's operator, which only reads. The limit is random reads and writes of as many cache lines.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks._ids import BATCH, DISTRIBUTIONS, Limit, ZeroCollisionHash, batches, live_ids, quiet_imports
from benchmarks.eviction import CLOCKS, churned
from benchmarks.harness import Result, Target, interleave, ratio
from embedding.ids.id_table import IdTable
from embedding.store import Ids

MINUTE = 27_000_000
EVICTION = 100  # steps between two evictions of TorchRec's module; one is in every round
CHURNED = 500_000  # rows of the table whose memory is measured while the ids in it change


def filled(ids: Ids, threads: int = 1) -> IdTable:
    """A table at full capacity."""
    table = IdTable(len(ids), threads)
    for part in np.array_split(ids, max(1, len(ids) // BATCH)):
        table.find_or_insert(part, MINUTE)
    return table


def _module(ids: Ids) -> Any:
    """Our table as the module that TorchRec's shards hold, full of `ids`."""
    import torch

    from embedding.rows.row_block import RowBlock
    from embedding.store import Table
    from embedding.torchrec.ids import CollisionFreeIds

    table = Table("t", dim=1, capacity=len(ids))
    module = CollisionFreeIds(table, len(ids), 1, 0, torch.device("cpu"))
    module.bind(RowBlock(len(ids), 1, table.optimizer, np.uint64(0), 0.01))
    module.now = MINUTE * 60_000
    module.train()
    for part in np.array_split(ids, max(1, len(ids) // BATCH)):
        module.find(part, 0)
    return module


def _managed_collision(ids: Ids) -> Any:
    """TorchRec's MCHManagedCollisionModule holding `ids`, training, evicting every EVICTION steps."""
    import torch
    from torchrec.modules.mc_modules import DistanceLFU_EvictionPolicy, MCHManagedCollisionModule

    module = MCHManagedCollisionModule(
        zch_size=len(ids) + 1,
        device=torch.device("cpu"),
        eviction_policy=DistanceLFU_EvictionPolicy(),
        eviction_interval=EVICTION,
    )
    module.train()
    known = np.concatenate([np.sort(ids.view(np.int64)), [np.iinfo(np.int64).max]])
    module._mch_sorted_raw_ids.copy_(torch.from_numpy(known))
    module._mch_metadata["counts"][:] = 5
    module._mch_metadata["last_access_iter"][:] = 1
    return module


def _stepping(module: Any) -> Callable[[Ids], None]:
    """A training step's remapping by a `ManagedCollisionModule`."""
    import torch
    from torchrec.sparse.jagged_tensor import JaggedTensor

    lengths = torch.ones(BATCH, dtype=torch.int64)

    def step(batch: Ids) -> None:
        values = torch.from_numpy(batch.view(np.int64))
        module({"t": JaggedTensor(values=values, lengths=lengths, weights=torch.tensor([BATCH]))})
        module.evict()

    return step


def _each(work: Callable[[Ids], Any], given: list[Ids]) -> Callable[[], None]:
    def run() -> None:
        for batch in given:
            work(batch)

    return run


def run(quick: bool) -> Result:
    """1 M live ids when quick, else 10 M, and as many batches for each contender as TorchRec has between evictions."""
    quiet_imports()
    live, count, rounds = (1_000_000, 4, 3) if quick else (10_000_000, EVICTION, 5)
    ids = live_ids(live)
    shuffled = np.random.default_rng(7).permutation(ids)
    table, zch, limit = filled(shuffled), ZeroCollisionHash(shuffled), Limit(table_bytes(live), count)
    ours, mch = _stepping(_module(shuffled)), _stepping(_managed_collision(ids))
    targets, raw = [], {"live": live, "batch": BATCH, "probe_lengths": table.segments.probe_lengths().tolist()}
    for kind in DISTRIBUTIONS:
        given = batches(ids, count, kind)
        every = [given[step % count] for step in range(EVICTION)]
        seconds = interleave(
            {
                "upsert": _each(lambda batch: table.find_or_insert(batch, MINUTE + 1), given),
                "find": _each(table.find, given),
                "limit": limit,
                "fbgemm": _each(zch.tensor, given),
                "module": _each(ours, every),
                "mch": _each(mch, every),
            },
            rounds=rounds,
        )
        steps = {"module": EVICTION, "mch": EVICTION}
        rates = {name: [steps.get(name, count) * BATCH / s / 1e6 for s in times] for name, times in seconds.items()}
        raw[f"{kind}, M ids/s"] = {name: [round(rate, 3) for rate in values] for name, values in rates.items()}
        if kind == "uniform":
            share = ratio(rates["upsert"], rates["limit"])
            targets.append(Target("uniform: upsert with touch, share of the random line limit", share, 0.55))
        targets += [
            Target(f"{kind}: module, times TorchRec's MCH", ratio(rates["module"], rates["mch"]), 10),
            Target(f"{kind}: table, times FBGEMM's read-only operator", ratio(rates["upsert"], rates["fbgemm"]), 3),
        ]
    targets += [Target("bytes an id", table.nbytes / live, 24, "lower"), *_churned()]
    targets += _two_threads(shuffled, ids, count, rounds, raw)
    return Result("id_table", targets, raw)


def table_bytes(live: int) -> int:
    return int(live * 16 / 0.69) // 64 * 64


def _churned() -> list[Target]:
    """Bytes an id after all ids of a full table were replaced four times, by clock."""
    targets = []
    for name, clock in CLOCKS.items():
        _, store = churned(CHURNED, clock, 4 * CHURNED // BATCH + 1)
        ids = store._by_name["t"].ids
        targets.append(Target(f"bytes an id, {name}", ids.nbytes / len(ids), 24, "lower"))
    return targets


def _two_threads(shuffled: Ids, ids: Ids, count: int, rounds: int, raw: dict[str, Any]) -> list[Target]:
    """Wall time for batches of one size and of eight times that size, because waking a thread takes a constant time.

    On a machine with other work it says more about that.
    """
    tables = {"one": filled(shuffled), "two": filled(shuffled, threads=2)}
    targets = []
    for size in (BATCH, 8 * BATCH):
        given = [np.unique(batch) for batch in batches(ids, max(1, count * BATCH // size), "uniform", size)]
        work = {name: _touching(table, given) for name, table in tables.items()}
        seconds = raw[f"threads, {size} ids"] = interleave(work, rounds, clock=time.perf_counter)
        what = f"two threads, times one (wall time), {size:,} ids a call"
        targets.append(Target(what, ratio(seconds["one"], seconds["two"]), 1.7))
    return targets


def _touching(table: IdTable, given: list[Ids]) -> Callable[[], None]:
    ones = np.ones(8 * BATCH, np.int32)
    return _each(lambda batch: table.lookup_and_touch(batch, ones[: len(batch)], MINUTE + 1), given)
