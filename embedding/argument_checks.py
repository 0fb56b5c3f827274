"""Argument checks shared by the stores: a clear error before anything changes.

Suffixes: N ids of a call, D dimension.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral

import numpy as np

from embedding.multiplexed import PREFIX
from embedding.optimizers import state_width
from embedding.store import Admission, Floats, Ids, Lookup, Optimizer, Table
from embedding.value_checks import check_float, check_int
from recsys.errors import InvalidValueError

MINUTE = 60_000  # ms; the resolution of event time in a store
MAX_CAPACITY = (1 << 31) - 1  # row numbers are int32
MAX_FREQUENCY = 255  # how often an id was seen is counted up to here, in eight bits
MOST_IDS = 1 << 24  # per call: the limit of the deduplication kernel
BULK = 128  # at capacity, at least capacity // BULK ids are evicted at once, which spreads the cost of the search


def tables_by_name(tables: Iterable[Table]) -> dict[str, Table]:
    """The tables of a store by name. Raises InvalidValueError for duplicate names and for invalid settings."""
    named: dict[str, Table] = {}
    listed = list(tables) if isinstance(tables, Iterable) else [None]
    if not all(isinstance(table, Table) for table in listed):
        raise InvalidValueError(f"tables is {tables!r}, write a list of them, as [Table(...)]")
    for table in listed:
        if table.name in named:
            raise InvalidValueError(f"duplicate table {table.name!r}: give each table its own name")
        check_table(table)
        named[table.name] = table
    return named


def check_table(table: Table) -> None:
    """Raises InvalidValueError if a setting of the table is out of range."""
    _check_name(table.name)
    try:
        _check_sizes(table)
        _check_new_rows(table)
        _check_ttl(table.ttl)
        _check_fallback(table)
        if not isinstance(table.optimizer, Optimizer):
            raise InvalidValueError(f'optimizer is {table.optimizer!r}, write for example Optimizer("adagrad", lr=0.1)')
    except InvalidValueError as error:
        raise InvalidValueError(f"table {table.name!r}: {error}") from None
    state_width(table.optimizer, table.dim)


def _check_name(name: str) -> None:
    if not isinstance(name, str):
        raise InvalidValueError(f"table {name!r}: write its name as a str")
    if name.startswith(PREFIX):
        raise InvalidValueError(f"table {name!r}: the prefix {PREFIX!r} is reserved, choose another name")


def _check_sizes(table: Table) -> None:
    for what in ("dim", "capacity", "cold_capacity", "fallback_rows"):
        check_int(what, getattr(table, what))
    if not 1 <= table.dim <= 1024:
        raise InvalidValueError(f"dim is {table.dim}, choose 1 to 1024")
    if not 1 <= table.capacity <= MAX_CAPACITY:
        raise InvalidValueError(f"capacity is {table.capacity}, choose 1 to 2**31 - 1 rows")
    if table.cold_capacity < 0 or table.capacity + table.total_capacity > MAX_CAPACITY:
        raise InvalidValueError(
            f"cold_capacity is {table.cold_capacity}, choose at least 0, and at most 2**31 - 1 less twice the capacity"
        )


def _check_new_rows(table: Table) -> None:
    if not isinstance(table.admission, Admission):
        raise InvalidValueError(f'admission is {table.admission!r}, write for example Admission("count", threshold=3)')
    check_float("init_scale", table.init_scale)
    if table.init_scale < 0:
        raise InvalidValueError(f"init_scale is {table.init_scale}, choose at least 0")


def _check_ttl(ttl: int | None) -> None:
    if ttl is not None and type(ttl) is not int:
        raise InvalidValueError(f"ttl is {ttl!r}, write milliseconds as an int or None")
    if ttl is not None and ttl < 0:
        raise InvalidValueError(f"ttl is {ttl} ms, choose None or at least 0")


def _check_fallback(table: Table) -> None:
    if table.fallback not in ("zeros", "multiplexed"):
        raise InvalidValueError(f"fallback is {table.fallback!r}, choose zeros or multiplexed")
    if not 1 <= table.fallback_rows <= MAX_CAPACITY:
        raise InvalidValueError(f"fallback_rows is {table.fallback_rows}, choose 1 to 2**31 - 1")
    if table.admission.kind == "never" and not table.multiplexed:
        raise InvalidValueError("admission is never, so set fallback to multiplexed")


def check_table_name(tables: Mapping[str, object], name: str) -> None:
    """Raises InvalidValueError if there is no such table."""
    if not isinstance(name, str) or name not in tables:
        raise InvalidValueError(f"unknown table {name!r}: this store has {', '.join(tables) or 'none'}")


def check_lookup(tables: Mapping[str, object], lookup: Lookup) -> None:
    """Raises InvalidValueError if it is no look-up, or one of a table that is not there."""
    if not isinstance(lookup, Lookup):
        raise InvalidValueError(f"the first argument of update is {lookup!r:.80}, write what lookup(...) returned")
    check_table_name(tables, lookup.table)


def check_lookups(lookups: Sequence[Lookup], grads: Sequence[Floats]) -> None:
    """Raises InvalidValueError unless they are a list of look-ups and one of as many arrays of gradients."""
    for what, given in (("look-ups", lookups), ("gradients", grads)):
        if not isinstance(given, Sequence):
            raise InvalidValueError(f"the {what} of update_each are {given!r:.80}, write a list of them")
    if len(lookups) != len(grads):
        raise InvalidValueError(
            f"update_each got {len(lookups)} look-ups and {len(grads)} arrays of gradients, write one for each"
        )


def check_ids_by_table(ids: Mapping[str, Ids]) -> None:
    """Raises InvalidValueError unless they are ids by table."""
    if not isinstance(ids, Mapping):
        raise InvalidValueError(f'ids are {_describe(ids)}, write them by table, such as {{"item": ids}}')


def _describe(value: object) -> str:
    return f"{value.dtype} with shape {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__


def copied_ids(table: str, ids_N: Ids) -> Ids:
    """A copy of the ids, so that the caller may change them later.

    Raises InvalidValueError unless they are uint64 [N], N at most MOST_IDS.
    """
    if not isinstance(ids_N, np.ndarray) or ids_N.dtype != np.uint64 or ids_N.ndim != 1:
        raise InvalidValueError(
            f"table {table!r}: ids must be a one-dimensional uint64 array, got {_describe(ids_N)} "
            "(convert signed ids with .view(numpy.uint64))"
        )
    if len(ids_N) > MOST_IDS:
        raise InvalidValueError(f"table {table!r}: {len(ids_N)} ids in one call, split it: at most {MOST_IDS}")
    return ids_N.copy()


def check_fits(table: Table, distinct: int) -> None:
    """Raises InvalidValueError if a call has more distinct ids than a table with rows on disk holds in memory."""
    if table.cold_capacity and distinct > table.capacity:
        raise InvalidValueError(
            f"table {table.name!r}: {distinct} distinct ids in one call, but memory holds {table.capacity} rows: "
            "raise capacity, or look up fewer ids at once (in training: a smaller batch_size)"
        )


def check_time(now: int) -> None:
    """Raises InvalidValueError for an event time (ms) before 1970."""
    if not isinstance(now, Integral):
        raise InvalidValueError(f"event time is {now!r}, write milliseconds since 1970 as an int, int(1000 * seconds)")
    if now < 0:
        raise InvalidValueError(f"event time {now} ms is before 1970")


def contiguous_grads(lookup: Lookup, grads_ND: Floats, dim: int) -> Floats:
    """The gradients as a contiguous array. Raises InvalidValueError unless they are float32 [N, D] of the look-up."""
    shape = (len(lookup.ids_N), dim)
    if not isinstance(grads_ND, np.ndarray) or grads_ND.dtype != np.float32 or grads_ND.shape != shape:
        raise InvalidValueError(
            f"table {lookup.table!r}: gradients must be float32 with shape {shape}, got {_describe(grads_ND)}"
        )
    return np.ascontiguousarray(grads_ND)
