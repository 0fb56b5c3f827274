"""The id table on a GPU: find-or-insert at load 0.5, and a sparse step with it against FBGEMM's with rows given.

Needs a GPU; without one it measures nothing and says so. Suffixes: N ids of a batch, D embedding dimension.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import torch

from benchmarks.harness import Result, Target, interleave, median, ratio

if TYPE_CHECKING:
    from embedding.gpu.id_table import GpuIdTable

DIM = 64
MINUTE = 29_000_000
NEW = 16  # one id of so many in a batch with new ones is new


def run(quick: bool) -> Result:
    if not torch.cuda.is_available():
        reason = "no CUDA device on this machine: nothing was measured"
        print(f"gpu_table: {reason}")
        return Result("gpu_table", [], {"measured": False, "reason": reason})
    live, batch = (1 << 20, 1 << 18) if quick else (10_000_000, 1 << 20)
    return measure("cuda", live, batch, rounds=5 if quick else 15, repeats=8)


def measure(device: str, live: int, batch: int, rounds: int, repeats: int) -> Result:
    """Both comparisons on one device; `repeats` batches are one round."""
    streams = Streams(device, live, batch, count=repeats * (rounds + 1))
    table = streams.table
    clock = time.perf_counter

    def upserts(batches: Iterator[torch.Tensor]) -> Callable[[], None]:
        def work() -> None:
            for _ in range(repeats):
                table.find_or_insert(next(batches), MINUTE)
            _wait(device)

        return work

    kinds = {"uniform": streams.uniform(), "zipf": streams.zipf(), f"uniform, 1 of {NEW} new": streams.with_new()}
    seconds = interleave({kind: upserts(batches) for kind, batches in kinds.items()}, rounds, clock)
    if table.refused:
        raise AssertionError(f"{table.refused} ids found no row in a table that has room for all")
    rates = {kind: repeats * batch / median(times) for kind, times in seconds.items()}
    targets = [Target(f"find-or-insert/s, {kind}", rate, 1e9) for kind, rate in rates.items()]
    load = table.load

    steps = Steps(streams, repeats)
    step_seconds = interleave({"ours": steps.with_table, "TBE": steps.rows_given}, rounds, clock)
    targets.append(
        Target("sparse step, times FBGEMM TBE's", ratio(step_seconds["ours"], step_seconds["TBE"]), 1.3, "lower")
    )
    sizes = {"live": len(table), "slots": table.slots, "load": load, "batch": batch, "repeats": repeats, "dim": DIM}
    raw = {"measured": True, **_facts(device), **sizes, "bytes_an_id": table.nbytes / len(table)}
    return Result("gpu_table", targets, raw | {"upsert_seconds": seconds, "step_seconds": step_seconds})


class Streams:
    """A table that reaches load 0.5 when the last new id is in, and batches of its ids."""

    def __init__(self, device: str, live: int, batch: int, count: int) -> None:
        from embedding.gpu.id_table import GpuIdTable

        self.device, self.batch, self.live = device, batch, live
        self.generator = torch.Generator(device).manual_seed(1)
        fresh = -(-batch // NEW)
        self.ids = torch.randint(-(2**63), 2**63 - 1, (live + count * fresh,), generator=self.generator, device=device)
        self.fresh = torch.split(self.ids[live:], fresh)
        self.table: GpuIdTable = GpuIdTable(len(self.ids), device=device)
        for part in torch.split(self.ids[:live], batch):
            self.table.find_or_insert(part, MINUTE)

    def _known(self, n: int) -> torch.Tensor:
        places = torch.randint(0, self.live, (n,), generator=self.generator, device=self.device)
        return self.ids[places]

    def uniform(self) -> Iterator[torch.Tensor]:
        batches = [self._known(self.batch) for _ in range(8)]
        while True:
            yield from batches

    def zipf(self) -> Iterator[torch.Tensor]:
        """Log-uniform ranks: Zipf's law with exponent 1."""
        logs = torch.rand(8, self.batch, generator=self.generator, device=self.device, dtype=torch.float64)
        batches = self.ids[(self.live**logs).long() - 1].unbind()
        while True:
            yield from batches

    def with_new(self) -> Iterator[torch.Tensor]:
        known = next(self.uniform())
        for fresh in self.fresh:
            yield torch.cat([fresh, known[len(fresh) :]])


class Steps:
    """Forward and backward of FBGEMM's TBE with exact row-wise Adagrad, with rows from the table or given."""

    def __init__(self, streams: Streams, repeats: int) -> None:
        self.table, self.repeats, self.device = streams.table, repeats, streams.device
        batches = streams.zipf()
        self.ids = [next(batches) for _ in range(repeats)]
        self.rows = [self.table.find(ids) for ids in self.ids]
        self.tbe = _tbe(self.table.capacity, self.device)
        self.offsets = torch.arange(streams.batch + 1, device=self.device)
        self.grads = torch.randn(streams.batch, DIM, generator=streams.generator, device=self.device)

    def _train(self, rows_N: torch.Tensor) -> None:
        self.tbe(rows_N, self.offsets).backward(self.grads)

    def with_table(self) -> None:
        for ids_N in self.ids:
            self._train(self.table.find_or_insert(ids_N, MINUTE)[0])
        _wait(self.device)

    def rows_given(self) -> None:
        for rows_N in self.rows:
            self._train(rows_N)
        _wait(self.device)


def _tbe(rows: int, device: str) -> Any:
    from fbgemm_gpu.split_embedding_configs import EmbOptimType
    from fbgemm_gpu.split_table_batched_embeddings_ops_common import EmbeddingLocation
    from fbgemm_gpu.split_table_batched_embeddings_ops_training import (
        ComputeDevice,
        SplitTableBatchedEmbeddingBagsCodegen,
    )

    on_gpu = device == "cuda"
    place = EmbeddingLocation.DEVICE if on_gpu else EmbeddingLocation.HOST
    tbe = SplitTableBatchedEmbeddingBagsCodegen(
        [(rows, DIM, place, ComputeDevice.CUDA if on_gpu else ComputeDevice.CPU)],
        optimizer=EmbOptimType.EXACT_ROWWISE_ADAGRAD,
        learning_rate=0.02,
        eps=1e-8,
    )
    tbe.init_embedding_weights_uniform(-0.01, 0.01)
    return tbe


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def _facts(device: str) -> dict[str, str]:
    name = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    return {"gpu": name} | {package: version(package) for package in ("torch", "triton", "fbgemm-gpu")}
