"""Reading and training several tables in one exchange each way.

Suffixes: N ids of a table of this process, M ids of a table that this process owns, D dimension, P padded for FBGEMM.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from embedding.store import Floats, Ids, Lookup
from embedding.torchrec.processes.ranks import Ranks
from embedding.torchrec.sharded_store.exchange import TablesExchange
from embedding.torchrec.sharded_store.table import Mode, TorchRecTable


@dataclass(frozen=True, slots=True)
class _Reading:
    """What the look-ups of one call share: their ways, and outputs [M, P] by table, none once they were trained."""

    ways: TablesExchange
    outputs: dict[str, torch.Tensor]


@dataclass(frozen=True, slots=True)
class JoinedLookup(Lookup):
    """A look-up that was made together with those of other tables; alone, it trains by its ids."""

    reading: _Reading
    owner: TorchRecTable


def read_together(
    tables: Mapping[str, TorchRecTable], ids: Mapping[str, Ids], mode: Mode, now: int, ranks: Ranks
) -> dict[str, Lookup]:
    """Look-ups of tables without shared rows. Collective, with the same tables everywhere."""
    ways = TablesExchange(list(ids.values()), ranks)
    owned = zip(ids, ways.to_owners(list(ids.values())), strict=True)
    with torch.set_grad_enabled(mode == "lookup_and_touch"):
        read = {table: tables[table].read_owned(ids_M, mode, now) for table, ids_M in owned}
    dims = {table: tables[table].table.dim for table in ids}
    values = [output.detach()[: len(rows_M), : dims[table]].cpu().numpy() for table, (output, rows_M) in read.items()]
    rows_TN = ways.from_owners([rows_M for _, rows_M in read.values()])
    values_TND = ways.from_owners(values)
    reading = _Reading(ways, {table: output for table, (output, _) in read.items() if mode == "lookup_and_touch"})
    found = zip(ids.items(), rows_TN, values_TND, strict=True)
    return {
        table: JoinedLookup(table, ids_N, rows_N, values_ND, reading, tables[table])
        for (table, ids_N), rows_N, values_ND in found
    }


def trained_together(tables: Mapping[str, TorchRecTable], lookups: Sequence[Lookup], grads: Sequence[Floats]) -> bool:
    """One optimizer step of look-ups that were made together. False if they were not, or were trained: nothing is done.

    Collective. The answer is the same in all processes, which make the same calls.
    """
    joined = [lookup for lookup in lookups if isinstance(lookup, JoinedLookup) and lookup.owner is tables[lookup.table]]
    if not joined or len(joined) < len(lookups):
        return False
    reading = joined[0].reading
    if any(own.reading is not reading for own in joined) or [own.table for own in joined] != list(reading.outputs):
        return False
    owned = zip(reading.outputs.items(), reading.ways.to_owners(grads), strict=True)
    pairs = [tables[table].train_owned(output, np.ascontiguousarray(part)) for (table, output), part in owned]
    reading.outputs.clear()
    torch.autograd.backward([output for output, _ in pairs], [gradient for _, gradient in pairs])
    return True
