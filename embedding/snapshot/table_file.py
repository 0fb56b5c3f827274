"""The file of one table in a snapshot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from embedding.snapshot.increments import SavedRows
from embedding.snapshot.store_state import TableStream
from embedding.snapshot.tensor_file import Layout, TensorWriter
from embedding.table_state import Arrays, TableState

_COLUMNS = ("ids", "seen", "freq", "weights", "state")
_CHANGED = "changed"
"""Of an increment: a mask of the ids whose values it has."""


def write_table(path: Path, name: str, stream: TableStream) -> dict[str, str]:
    """Returns the checksums. Raises OSError."""
    n = stream.rows
    policies = {f"admission.{i}.{key}": v for i, state in enumerate(stream.admission) for key, v in state.items()}
    layout: Layout = {key: (value.dtype, value.shape) for key, value in policies.items()}
    layout |= {"ids": (np.uint64, (n,)), "seen": (np.int64, (n,)), "freq": (np.uint8, (n,))}
    values = n if stream.changed is None else stream.changed
    layout |= {"weights": (np.float32, (values, stream.dim)), "state": (np.float32, (values, stream.width))}
    layout |= {} if stream.changed is None else {_CHANGED: (np.uint8, (n,))}
    columns = _COLUMNS if stream.changed is None else (*_COLUMNS, _CHANGED)
    meta = {"name": name, "step": stream.step, "lookups": stream.lookups, "counters": stream.counters}
    with TensorWriter(path, layout, meta | {"admission": [sorted(state) for state in stream.admission]}) as writer:
        for key, value in policies.items():
            writer.write(key, value)
        for part in stream.parts:
            for column, array in zip(columns, part, strict=True):
                writer.write(column, array)
    return writer.checksums


def read_table(saved: tuple[Arrays, dict[str, Any]]) -> tuple[str, TableState, SavedRows | None]:
    """A table's name, its state, and of an increment the values that it has."""
    arrays, meta = saved
    if _CHANGED not in arrays:
        return *_table_state(arrays, meta), None
    changed_U = arrays[_CHANGED].astype(bool)
    values = SavedRows(arrays["ids"][changed_U], arrays["weights"], arrays["state"])
    return *_table_state(arrays, meta), values


def _table_state(arrays: Arrays, meta: dict[str, Any]) -> tuple[str, TableState]:
    policies = [{key: arrays[f"admission.{i}.{key}"] for key in keys} for i, keys in enumerate(meta["admission"])]
    return meta["name"], TableState(
        arrays["ids"],
        arrays["seen"],
        arrays["freq"],
        arrays["weights"],
        arrays["state"],
        meta["step"],
        meta["lookups"],
        meta["counters"],
        policies,
    )
