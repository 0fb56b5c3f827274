"""The state of a store in files, and its digest. The same files serve every store.

A snapshot is a folder of safetensors files and a manifest, written last, with the checksums of all.

Suffixes: U ids of a table, D dimension, W floats of optimizer state a row.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from embedding.hashing import mix
from embedding.multiplexed import shared_tables
from embedding.snapshot.consumer_state import ConsumerState, pack, resynced, unpack
from embedding.snapshot.tensor_file import Arrays, Layout, TensorWriter, read_arrays, write_arrays
from embedding.store import Floats, Ids, Table

logger = logging.getLogger(__name__)

MANIFEST = "manifest.json"
Part = tuple[Ids, npt.NDArray[np.int64], npt.NDArray[np.uint8], Floats, Floats]
"""Ids, last seen, frequency, weights and optimizer state of some rows."""


@dataclass(slots=True)
class TableState:
    """Everything about one table, by id. `seen_U` is in minutes, `state_UW` as the table's optimizer keeps it.

    >>> from embedding.local.store import LocalStore
    >>> store = LocalStore([Table("item", dim=4)])
    >>> _ = store.lookup("item", np.array([7], np.uint64), now=0)
    >>> _ = store.lookup("item", np.array([8], np.uint64), now=600_000)
    >>> state = store.state().tables["item"]
    >>> state.ids_U[state.warmest(1)].tolist(), state.seen_U[state.warmest(1)].tolist()
    ([8], [10])
    """

    ids_U: Ids
    seen_U: npt.NDArray[np.int64]
    freq_U: npt.NDArray[np.uint8]
    weights_UD: Floats
    state_UW: Floats
    step: int
    """Updates so far (Adam's t)."""
    draws: int
    """Look-ups so far (the probabilistic rule's randomness)."""
    counters: dict[str, int]
    gate: Arrays

    def warmest(self, n: int) -> npt.NDArray[np.int64]:
        """Positions, ascending, of the n ids that would be evicted last; of all when there are no more."""
        if len(self.ids_U) <= n:
            return np.arange(len(self.ids_U))
        return np.sort(np.lexsort((mix(self.ids_U), self.freq_U, self.seen_U))[len(self.ids_U) - n :])

    def ordered(self) -> TableState:
        """The same with ids ascending."""
        order = np.argsort(self.ids_U)
        return replace(
            self,
            ids_U=self.ids_U[order],
            seen_U=self.seen_U[order],
            freq_U=self.freq_U[order],
            weights_UD=self.weights_UD[order],
            state_UW=self.state_UW[order],
        )


@dataclass(slots=True)
class StoreState:
    """A store. `fallback` maps groups of `embedding.multiplexed` to (weights [rows, D], state [rows, W], step)."""

    tables: dict[str, TableState]
    fallback: dict[str, tuple[Floats, Floats, int]]
    consumers: dict[str, ConsumerState]


@dataclass(slots=True)
class TableStream:
    """A table's state in parts, read one at a time, while the table may change.

    >>> from embedding.local.store import LocalStore
    >>> store = LocalStore([Table("item", dim=4)])
    >>> _ = store.lookup("item", np.array([7], np.uint64), now=0)
    >>> _ = store.lookup("item", np.array([8], np.uint64), now=600_000)
    >>> stream = TableStream.of(store.state().tables["item"])
    >>> stream.rows, sum(len(ids_U) for ids_U, *_ in stream.parts)
    (2, 2)
    """

    rows: int
    dim: int
    width: int
    step: int
    draws: int
    counters: dict[str, int]
    gate: Arrays
    parts: Iterator[Part]

    @classmethod
    def of(cls, state: TableState) -> TableStream:
        """A state that is in memory, as one part."""
        part = (state.ids_U, state.seen_U, state.freq_U, state.weights_UD, state.state_UW)
        widths = state.weights_UD.shape[1], state.state_UW.shape[1]
        return cls(len(state.ids_U), *widths, state.step, state.draws, state.counters, state.gate, iter([part]))


@dataclass(slots=True)
class Contents:
    """What a snapshot is made of."""

    tables: dict[str, TableStream]
    fallback: dict[str, tuple[Floats, Floats, int]]
    consumers: dict[str, ConsumerState]

    @classmethod
    def of(cls, state: StoreState) -> Contents:
        streams = {name: TableStream.of(table) for name, table in state.tables.items()}
        return cls(streams, state.fallback, state.consumers)


def digest(state: StoreState) -> str:
    """SHA-256 over ids, rows, optimizer state and clocks; the order of insertion and of rows leave no trace."""
    total = hashlib.sha256()
    for name in sorted(state.tables):
        table = state.tables[name].ordered()
        total.update(f"{name}:{len(table.ids_U)}:{table.step}".encode())
        for array in (table.ids_U, table.seen_U, table.freq_U, table.weights_UD, table.state_UW):
            total.update(np.ascontiguousarray(array).data)
    for name in sorted(state.fallback):
        weights, rule_state, step = state.fallback[name]
        total.update(f"{name}:{step}".encode())
        total.update(np.ascontiguousarray(weights).data)
        total.update(np.ascontiguousarray(rule_state).data)
    return total.hexdigest()


def save(folder: Path | str, tables: Mapping[str, Table], seed: int, contents: Contents) -> None:
    """Write all files, then the manifest that makes them a snapshot; each reaches the disk before the next step."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)
    _sync_folder(folder)
    files = {}
    for i, (name, stream) in enumerate(contents.tables.items()):
        files[f"table-{i:03d}.safetensors"] = _write_table(folder / f"table-{i:03d}.safetensors", name, stream)
    files["consumers.safetensors"] = write_arrays(folder / "consumers.safetensors", *pack(contents.consumers))
    shared: Arrays = {}
    for name, (weights, rule_state, step) in contents.fallback.items():
        shared |= {f"{name}.weights": weights, f"{name}.state": rule_state, f"{name}.step": np.array([step])}
    files["fallback.safetensors"] = write_arrays(folder / "fallback.safetensors", shared, {})
    manifest = {"format": 1, "seed": seed, "tables": [asdict(table) for table in tables.values()], "files": files}
    body = json.dumps(manifest, indent=1, sort_keys=True)
    text = json.dumps({"sha256": hashlib.sha256(body.encode()).hexdigest(), "body": body})
    temporary = folder / (MANIFEST + ".new")
    with temporary.open("wb") as file:
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(folder / MANIFEST)
    _sync_folder(folder)


def load(folder: Path | str, tables: Mapping[str, Table], seed: int) -> StoreState:
    """Read a snapshot, arrays mapped from its files. Raises ValueError naming the file that is torn, or what differs.

    Every byte has been checked when this returns. Tables may have got or lost shared rows since: those that are gone
    are left out with a warning, new ones begin afresh, and consumers get everything.
    """
    folder = Path(folder)
    manifest = _manifest(folder)
    if manifest["seed"] != seed:
        raise ValueError(f"{folder / MANIFEST}: written with seed {manifest['seed']}, this store has {seed}")
    written = {spec["name"]: spec for spec in manifest["tables"]}
    for name in set(written) ^ set(tables):
        raise ValueError(f"{folder / MANIFEST}: table {name!r} is in only one of snapshot and store")
    for name, table in tables.items():
        for what in ("dim", "optimizer"):
            mine = json.loads(json.dumps(asdict(table)))[what]
            if written[name][what] != mine:
                raise ValueError(f"{folder / MANIFEST}: table {name!r} has {what} {written[name][what]}, not {mine}")
        gates = written[name]["admission"]["kind"], table.admission.kind
        if len(set(gates)) > 1:
            raise ValueError(f"{folder / MANIFEST}: table {name!r} has admission {gates[0]!r}, not {gates[1]!r}")

    def read(name: str) -> tuple[Arrays, dict[str, Any]]:
        return read_arrays(folder / name, manifest["files"][name])

    loaded = [_table(*read(f"table-{i:03d}.safetensors")) for i in range(len(written))]
    shared, _ = read("fallback.safetensors")
    groups = sorted(shared_tables(tables.values()))
    known = [group for group in groups if f"{group}.weights" in shared]
    if gone := {key.removesuffix(".weights") for key in shared if key.endswith(".weights")} - set(groups):
        logger.warning("%s: no table reads %s any more, what they learned is dropped", folder, ", ".join(sorted(gone)))
    fallback = {g: (shared[f"{g}.weights"], shared[f"{g}.state"], int(shared[f"{g}.step"][0])) for g in known}
    consumers = unpack(*read("consumers.safetensors"))
    if len(known) < len(groups) or any(written[name]["fallback"] != table.fallback for name, table in tables.items()):
        numbers = {name: entry.consumer.sequence for name, entry in consumers.items()}
        consumers = resynced(numbers, (*tables, *groups))
    return StoreState(dict(loaded), fallback, consumers)


def _write_table(path: Path, name: str, stream: TableStream) -> dict[str, str]:
    n = stream.rows
    layout: Layout = {f"gate.{key}": (value.dtype, value.shape) for key, value in stream.gate.items()}
    layout |= {"ids": (np.uint64, (n,)), "seen": (np.int64, (n,)), "freq": (np.uint8, (n,))}
    layout |= {"weights": (np.float32, (n, stream.dim)), "state": (np.float32, (n, stream.width))}
    meta = {"name": name, "step": stream.step, "draws": stream.draws, "counters": stream.counters}
    with TensorWriter(path, layout, meta) as writer:
        for key, value in stream.gate.items():
            writer.write(f"gate.{key}", value)
        for part in stream.parts:
            tensors: tuple[npt.NDArray[Any], ...] = part
            for tensor, values in zip(("ids", "seen", "freq", "weights", "state"), tensors, strict=True):
                writer.write(tensor, values)
    return writer.checksums


def _table(arrays: Arrays, meta: dict[str, Any]) -> tuple[str, TableState]:
    gate = {key.removeprefix("gate."): value for key, value in arrays.items() if key.startswith("gate.")}
    rows = (arrays["ids"], arrays["seen"], arrays["freq"], arrays["weights"], arrays["state"])
    return meta["name"], TableState(*rows, meta["step"], meta["draws"], meta["counters"], gate)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    if not path.exists():
        raise ValueError(f"{path} is missing: the snapshot was never finished, load an earlier one")
    try:
        text = json.loads(path.read_bytes())
        intact = hashlib.sha256(text["body"].encode()).hexdigest() == text["sha256"]
        manifest: dict[str, Any] = json.loads(text["body"]) if intact else {}
    except (ValueError, KeyError, TypeError, AttributeError):
        manifest = {}
    if manifest.get("format") != 1:
        raise ValueError(f"{path} is damaged: load an earlier snapshot")
    return manifest
