"""One table of the TorchRec store: reading and training, over a collection that is sharded over processes.

Suffixes: N ids of a call, B bags (N, or the most of any process), D dimension, P dimension padded for FBGEMM.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torchrec import KeyedJaggedTensor
from torchrec.distributed import DistributedModelParallel

from embedding.hashing import fallback_slots, salt_of
from embedding.ids.admission import Mask
from embedding.ids.counting_filter import bounded_policy
from embedding.ids.id_lifecycle import TableIds
from embedding.store import Floats, Ids, Lookup, RowNumbers, Table
from embedding.torchrec.processes.ranks import Ranks
from embedding.torchrec.sharded_collection import ShardedCollisionFreeEmbeddingBagCollection
from embedding.torchrec.sharded_store import sharded_model

Mode = Literal["lookup_and_touch", "lookup", "revalidate"]


@dataclass(frozen=True, slots=True)
class TorchRecLookup(Lookup):
    """A look-up that keeps its outputs [B, P] (none after training), so that the update need not read again."""

    outputs: list[torch.Tensor]
    owner: object
    """The table that made it; a look-up of another table, or from before a `load`, trains by id."""


class TorchRecTable:
    """The part `key` of a sharded model. `shared` is the table of multiplexed rows, or None.

    Every method is collective: all processes call it, each with its own ids.

    >>> film, cpu = Table("film", dim=4, capacity=100), torch.device("cpu")
    >>> ranks = Ranks(None, cpu)
    >>> model = sharded_model.shard(sharded_model.ShardedTables({"t0": film}, 0, ranks.size, cpu), ranks.group, cpu)
    >>> table = TorchRecTable(film, "t0", 0, model, ranks, cpu)
    >>> found = table.lookup(np.array([7, 8, 7], np.uint64), now=0)
    >>> table.update(found, np.ones((3, 4), np.float32))
    >>> table.ids.counters()["live"]
    2
    """

    def __init__(
        self,
        table: Table,
        key: str,
        seed: int,
        model: DistributedModelParallel,
        ranks: Ranks,
        device: torch.device,
        shared: TorchRecTable | None = None,
    ) -> None:
        self.table, self._key, self._salt = table, key, salt_of(seed, table.name)
        self._model, self._ranks, self._device, self._shared = model, ranks, device, shared
        self._part: ShardedCollisionFreeEmbeddingBagCollection = model.module.parts[key]
        self._part.clear()
        # In sections, so that the counts can go to any number of processes.
        self.ids.admit_by(bounded_policy(table.admission, self._salt, 2 * table.capacity, ranks.size))

    @property
    def ids(self) -> TableIds:
        """The ids of this process."""
        return self._part.ids[self._key].bound()

    def lookup(self, ids_N: Ids, now: int) -> Lookup:
        with torch.enable_grad():
            return self._lookup(ids_N, "lookup_and_touch", now)

    def peek(self, ids_N: Ids) -> Lookup:
        with torch.no_grad():
            return self._lookup(ids_N, "lookup", 0)

    def _lookup(self, ids_N: Ids, mode: Mode, now: int) -> Lookup:
        output_BP, rows_N = self._read(ids_N, None, mode, now)
        values_ND, outputs = self._values(output_BP, len(ids_N)), [output_BP]
        if self._shared is not None:
            outputs.append(self._read_shared(ids_N, rows_N < 0))
            values_ND += self._values(outputs[1], len(ids_N))
        return TorchRecLookup(
            self.table.name, ids_N, rows_N, values_ND, outputs if mode == "lookup_and_touch" else [], self
        )

    def _read(self, ids_N: Ids, wanted_N: Mask | None, mode: Mode, now: int) -> tuple[torch.Tensor, RowNumbers]:
        """Values [B, P] of the (wanted) ids, zeros for others and padding; and their row numbers [N]."""
        bags = max(1, self._ranks.largest(len(ids_N)))  # gloo scatters equal parts only, FBGEMM takes no fewer than one
        features = self._features(sharded_model.features(ids_N, wanted_N, bags), mode, now)
        if self._ranks.size == 1:  # TorchRec's exchange would take as long as finding the rows
            output_BP, found = self._part.read_owned(self._key, features)
        else:
            answer = self._model(self._key, features)
            output_BP, found = answer[0].values(), answer[1].values().cpu().numpy()
        if wanted_N is None:
            return output_BP, found
        rows_N = np.full(len(ids_N), -1, np.int64)
        rows_N[wanted_N] = found
        return output_BP, rows_N

    def read_owned(self, ids_M: Ids, mode: Mode, now: int) -> tuple[torch.Tensor, RowNumbers]:
        """Values [M or 1, P] and row numbers of ids that this process owns."""
        features = sharded_model.features(ids_M, None, max(1, len(ids_M)))
        return self._part.read_owned(self._key, self._features(features, mode, now))

    def _features(self, features: KeyedJaggedTensor, mode: Mode, now: int) -> KeyedJaggedTensor:
        """The features of the next call, on its device; `mode` and `now` are for that call."""
        self._part.ids[self._key].mode, self._part.ids[self._key].now = mode, now
        return features if self._device.type == "cpu" else features.to(self._device)

    def train_owned(self, output: torch.Tensor, grads_MD: Floats) -> tuple[torch.Tensor, torch.Tensor]:
        """An output of `read_owned` with its gradient, for one backward pass over all tables."""
        grads = torch.zeros(output.shape)
        grads[: len(grads_MD), : self.table.dim] = torch.from_numpy(grads_MD)
        return output, (grads * sharded_model.gradient_scale(self.table)).to(self._device)

    def _read_shared(self, ids_N: Ids, without_N: Mask) -> torch.Tensor:
        assert self._shared is not None
        slots_N = fallback_slots(ids_N, self._salt, self.table.fallback_rows).view(np.uint64)
        return self._shared._read(slots_N, without_N, "lookup", 0)[0]

    def _values(self, output_BP: torch.Tensor, n: int) -> Floats:
        # Nothing else reads an output, so no copy is needed.
        return np.ascontiguousarray(output_BP.detach()[:n, : self.table.dim].cpu().numpy())

    def update(self, lookup: Lookup, grads_ND: Floats) -> None:
        """One step of FBGEMM's fused optimizer."""
        outputs = self._outputs(lookup)
        # TorchRec takes the mean over processes, as data-parallel models do; a store's gradients add up.
        scale = self._ranks.size * sharded_model.gradient_scale(self.table)
        grads = torch.from_numpy(grads_ND if scale == 1 and grads_ND.flags.writeable else grads_ND * np.float32(scale))
        bags, padded = outputs[0].shape
        if (bags, padded) != grads_ND.shape:
            grads = torch.nn.functional.pad(grads, (0, padded - self.table.dim, 0, bags - len(grads)))
        before = self._skipped_shared()
        torch.autograd.backward(outputs, [grads.to(self._device)] * len(outputs))
        self.ids.count_nonfinite(self._skipped_shared() - before)

    def _skipped_shared(self) -> int:
        """How many steps the shared rows have not taken; those of this table's ids count as its own."""
        return 0 if self._shared is None else self._shared.ids.counters()["nonfinite"]

    def _outputs(self, lookup: Lookup) -> list[torch.Tensor]:
        """Outputs to differentiate: those of the look-up, or new ones for ids that had a row then and have one now."""
        if isinstance(lookup, TorchRecLookup) and lookup.owner is self and lookup.outputs:
            outputs = lookup.outputs.copy()
            lookup.outputs.clear()
            return outputs
        had_N = lookup.rows_N >= 0
        with torch.enable_grad():
            outputs = [self._read(lookup.ids_N, had_N, "revalidate", 0)[0]]
            if self._shared is not None:
                outputs.append(self._read_shared(lookup.ids_N, ~had_N))
        return outputs
