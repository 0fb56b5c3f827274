"""The state of a store in files, and its digest. The same files serve every store.

A snapshot is a folder of safetensors files and a manifest, written last, with the checksum of each. Ids are sorted, so
equal states give equal bytes. Suffixes: U ids of a table, D dimension, W floats of optimizer state a row.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load as parse
from safetensors.numpy import save as pack

from embedding.delta import Consumer
from embedding.store import Delta, Floats, Ids, Table, TableDelta

MANIFEST = "manifest.json"
Arrays = dict[str, npt.NDArray[Any]]


@dataclass(slots=True)
class TableState:
    """Everything about one table, by id. `seen_U` is in minutes, `state_UW` as the table's optimizer keeps it."""

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
class ConsumerState:
    """A consumer, and the ids that changed since its last delta was cut."""

    consumer: Consumer
    changed: dict[str, Ids] = field(default_factory=dict)
    removed: dict[str, Ids] = field(default_factory=dict)


@dataclass(slots=True)
class StoreState:
    """A whole store. `fallback` maps "dim/optimizer" groups to (weights [rows, D], state [rows, W], step [1])."""

    tables: dict[str, TableState]
    fallback: dict[str, tuple[Floats, Floats, int]]
    consumers: dict[str, ConsumerState]


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


def save(folder: Path, tables: Mapping[str, Table], seed: int, state: StoreState) -> None:
    """Write all files, then the manifest that makes them a snapshot; each reaches the disk before the next step."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)
    _sync_folder(folder)
    files = {}
    for i, (name, table) in enumerate(state.tables.items()):
        files[f"table-{i:03d}.safetensors"] = _write(folder / f"table-{i:03d}.safetensors", *_packed(name, table))
    files["consumers.safetensors"] = _write(folder / "consumers.safetensors", *_pack_consumers(state.consumers))
    shared: Arrays = {}
    for name, (weights, rule_state, step) in state.fallback.items():
        shared |= {f"{name}.weights": weights, f"{name}.state": rule_state, f"{name}.step": np.array([step])}
    files["fallback.safetensors"] = _write(folder / "fallback.safetensors", shared, {})
    manifest = {"format": 1, "seed": seed, "tables": [asdict(table) for table in tables.values()], "files": files}
    body = json.dumps(manifest, indent=1, sort_keys=True)
    text = json.dumps({"sha256": hashlib.sha256(body.encode()).hexdigest(), "body": body})
    temporary = folder / (MANIFEST + ".new")
    _write_bytes(temporary, text.encode())
    temporary.rename(folder / MANIFEST)
    _sync_folder(folder)


def load(folder: Path, tables: Mapping[str, Table], seed: int) -> StoreState:
    """Read a snapshot. Raises ValueError naming the file that is torn, or what differs from this store."""
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
    loaded = [_unpacked(_read(folder, f"table-{i:03d}.safetensors", manifest)) for i in range(len(written))]
    shared = _read(folder, "fallback.safetensors", manifest)[0]
    groups = {key.rsplit(".", 1)[0] for key in shared}
    fallback = {g: (shared[f"{g}.weights"], shared[f"{g}.state"], int(shared[f"{g}.step"][0])) for g in groups}
    consumers = _unpack_consumers(*_read(folder, "consumers.safetensors", manifest))
    return StoreState(dict(loaded), fallback, consumers)


def _packed(name: str, table: TableState) -> tuple[Arrays, dict[str, Any]]:
    rows = table.ordered()
    arrays: Arrays = {f"gate.{key}": value for key, value in rows.gate.items()}
    arrays |= {"ids": rows.ids_U, "seen": rows.seen_U, "freq": rows.freq_U}
    arrays |= {"weights": rows.weights_UD, "state": rows.state_UW}
    return arrays, {"name": name, "step": rows.step, "draws": rows.draws, "counters": rows.counters}


def _unpacked(content: tuple[Arrays, dict[str, Any]]) -> tuple[str, TableState]:
    arrays, meta = content
    gate = {key.removeprefix("gate."): value for key, value in arrays.items() if key.startswith("gate.")}
    rows = (arrays["ids"], arrays["seen"], arrays["freq"], arrays["weights"], arrays["state"])
    return meta["name"], TableState(*rows, meta["step"], meta["draws"], meta["counters"], gate)


def _pack_consumers(consumers: Mapping[str, ConsumerState]) -> tuple[Arrays, dict[str, Any]]:
    arrays: Arrays = {}
    meta = []
    for i, (name, entry) in enumerate(consumers.items()):
        pending = entry.consumer.pending
        names = sorted(set(entry.changed) | set(entry.removed) | set(pending.tables if pending else ()))
        for k, table in enumerate(names):
            arrays[f"{i}.{k}.changed"] = np.sort(entry.changed.get(table, np.zeros(0, np.uint64)))
            arrays[f"{i}.{k}.removed"] = np.sort(entry.removed.get(table, np.zeros(0, np.uint64)))
            if pending and table in pending.tables:
                cut = pending.tables[table]
                arrays |= {f"{i}.{k}.ids": cut.ids_U, f"{i}.{k}.values": cut.values_UD, f"{i}.{k}.gone": cut.removed}
        meta.append(
            {
                "name": name,
                "sequence": entry.consumer.sequence,
                "full": entry.consumer.full,
                "pending": None if pending is None else {"sequence": pending.sequence, "full": pending.full},
                "tables": names,
            }
        )
    return arrays, {"consumers": meta}


def _unpack_consumers(arrays: Arrays, meta: dict[str, Any]) -> dict[str, ConsumerState]:
    consumers = {}
    for i, spec in enumerate(meta["consumers"]):
        pending = None
        at = dict(enumerate(spec["tables"]))
        if spec["pending"] is not None:
            cuts = {
                table: TableDelta(arrays[f"{i}.{k}.ids"], arrays[f"{i}.{k}.values"], arrays[f"{i}.{k}.gone"])
                for k, table in at.items()
                if f"{i}.{k}.ids" in arrays
            }
            pending = Delta(spec["pending"]["sequence"], spec["pending"]["full"], cuts)
        consumers[spec["name"]] = ConsumerState(
            Consumer(spec["sequence"], spec["full"], pending),
            {table: arrays[f"{i}.{k}.changed"] for k, table in at.items()},
            {table: arrays[f"{i}.{k}.removed"] for k, table in at.items()},
        )
    return consumers


def _write(path: Path, arrays: Arrays, meta: dict[str, Any]) -> str:
    data = pack({key: np.ascontiguousarray(value) for key, value in arrays.items()}, {"meta": json.dumps(meta)})
    _write_bytes(path, data)
    return hashlib.sha256(data).hexdigest()


def _write_bytes(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


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


def _read(folder: Path, name: str, manifest: dict[str, Any]) -> tuple[Arrays, dict[str, Any]]:
    path = folder / name
    if name not in manifest["files"] or not path.exists():
        raise ValueError(f"{path} is missing: load an earlier snapshot")
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != manifest["files"][name]:
        raise ValueError(f"{path} is damaged (checksum differs): load an earlier snapshot")
    try:
        arrays: Arrays = parse(data)
        length = int.from_bytes(data[:8], "little")
        meta: dict[str, Any] = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["meta"])
    except (SafetensorError, ValueError, KeyError) as error:
        raise ValueError(f"{path} is not a file of this format: {error}") from error
    return arrays, meta
