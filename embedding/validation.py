"""Argument checks shared by the stores: a clear error before anything changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from embedding.multiplexed import PREFIX
from embedding.optimizers import state_width
from embedding.store import Floats, Ids, Lookup, Table

MINUTE = 60_000  # ms; the resolution of event time in a store
MOST_IDS = 1 << 24  # of one call: what the search for distinct ids counts to
BULK = 128  # at the bound, at least capacity // BULK ids go at once, so that the search for them pays


def by_name(tables: Iterable[Table]) -> dict[str, Table]:
    """The tables of a store. Raises ValueError for what cannot work."""
    named: dict[str, Table] = {}
    for table in tables:
        if table.name in named:
            raise ValueError(f"two tables are called {table.name!r}: names are keys, give each its own")
        if table.name.startswith(PREFIX):
            raise ValueError(f"table {table.name!r}: {PREFIX} begins the names of shared rows, choose another name")
        if not 1 <= table.dim <= 1024:
            raise ValueError(f"table {table.name!r}: dim is {table.dim}, choose 1 to 1024")
        if not 0 < table.capacity < 1 << 31:
            raise ValueError(f"table {table.name!r}: capacity is {table.capacity}, choose 1 to 2**31 - 1 rows")
        if table.ttl is not None and table.ttl < 0:
            raise ValueError(f"table {table.name!r}: ttl is {table.ttl} ms, choose None or at least 0")
        if table.fallback not in ("zeros", "multiplexed"):
            raise ValueError(f"table {table.name!r}: fallback {table.fallback!r} is neither zeros nor multiplexed")
        state_width(table.optimizer, table.dim)
        named[table.name] = table
    return named


def known(tables: Mapping[str, object], name: str) -> None:
    if name not in tables:
        raise ValueError(f"table {name!r} is unknown, this store has {', '.join(tables) or 'none'}")


def _kind(value: object) -> str:
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__


def check_ids(table: str, ids_N: Ids) -> Ids:
    """The ids, contiguous. Raises ValueError unless they are uint64 [N]."""
    if not isinstance(ids_N, np.ndarray) or ids_N.dtype != np.uint64 or ids_N.ndim != 1:
        raise ValueError(
            f"table {table!r}: ids are {_kind(ids_N)}, uint64 [N] is needed (signed ids: .view(numpy.uint64))"
        )
    if len(ids_N) > MOST_IDS:
        raise ValueError(f"table {table!r}: {len(ids_N)} ids in one call, at most {MOST_IDS} are possible: split it")
    return np.ascontiguousarray(ids_N)


def check_now(now: int) -> int:
    """Event time in minutes. Raises ValueError for a time before the epoch."""
    if now < 0:
        raise ValueError(f"event time {now} ms lies before 1970")
    return now // MINUTE


def check_grads(lookup: Lookup, grads_ND: Floats, dim: int) -> Floats:
    """The gradients, contiguous. Raises ValueError unless they are float32 of the look-up's shape."""
    shape = (len(lookup.ids_N), dim)
    if not isinstance(grads_ND, np.ndarray) or grads_ND.dtype != np.float32 or grads_ND.shape != shape:
        raise ValueError(f"table {lookup.table!r}: gradients are {_kind(grads_ND)}, float32 {shape} is needed")
    return np.ascontiguousarray(grads_ND)
