"""Snapshots of a store on disk, the same for every kind of store.

A snapshot is a folder of safetensors files and a manifest, written last, with the checksum of every tensor.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from embedding.multiplexed import shared_tables
from embedding.snapshot.consumer_state import ConsumerState, pack, resynced, unpack
from embedding.snapshot.differences import differences
from embedding.snapshot.store_state import SavedPart, StoreState, TableStream
from embedding.snapshot.tensor_file import Layout, TensorWriter, read_arrays, write_arrays
from embedding.store import Floats, Ids, Table
from embedding.table_state import Arrays, TableState
from recsys.errors import InvalidValueError, StateError, TornCheckpointError

logger = logging.getLogger(__name__)

MANIFEST = "manifest.json"
FORMAT = 3
_CONSUMERS, _MULTIPLEXED = "consumers.safetensors", "multiplexed.safetensors"
_COLUMNS = ("ids", "seen", "freq", "weights", "state")
_Reader = Callable[[str], tuple[Arrays, dict[str, Any]]]
_Shared = dict[str, tuple[Floats, Floats, int]]


def save(folder: Path | str, tables: Mapping[str, Table], seed: int, state: StoreState[TableStream]) -> None:
    """Write all files, then the manifest; each reaches the disk before the next step. Raises OSError if it cannot."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)
    _sync_folder(folder)
    files = {}
    for i, (name, stream) in enumerate(state.tables.items()):
        files[_table_file(i)] = _write_table(folder / _table_file(i), name, stream)
    files[_CONSUMERS] = write_arrays(folder / _CONSUMERS, *pack(state.consumers))
    shared: Arrays = {}
    for name, (weights, rule_state, step) in state.multiplexed.items():
        shared |= {f"{name}.weights": weights, f"{name}.state": rule_state, f"{name}.step": np.array([step])}
    files[_MULTIPLEXED] = write_arrays(folder / _MULTIPLEXED, shared, {})
    specs = [asdict(table) for table in tables.values()]
    _write_manifest(
        folder, {"format": FORMAT, "seed": seed, "part": asdict(state.part), "tables": specs, "files": files}
    )


def load(folder: Path | str, tables: Mapping[str, Table], seed: int) -> StoreState[TableState]:
    """Read a snapshot, with arrays mapped from its files; every byte has been checked when this returns.

    Tables may have gained or lost multiplexed rows since: rows that no table reads are dropped with a warning, new ones
    are initialised, and consumers get a full resync.
    Raises TornCheckpointError naming the file that is damaged or missing, StateError for a snapshot of another format,
    InvalidValueError for another seed or other tables.
    """
    folder = Path(folder)
    manifest = _read_manifest(folder)
    written = {spec["name"]: spec for spec in manifest["tables"]}
    _check_names(manifest, tables)
    return _load(folder, manifest, written, tables, seed)


def load_known(folder: Path | str, tables: Mapping[str, Table], seed: int) -> StoreState[TableState]:
    """As `load`, of those `tables` that the snapshot has, and without consumers."""
    folder = Path(folder)
    manifest = _read_manifest(folder)
    written = {spec["name"]: spec for spec in manifest["tables"]}
    known = {name: table for name, table in tables.items() if name in written}
    state = _load(folder, manifest, written, known, seed)
    return StoreState(state.tables, state.multiplexed, {})


def _load(
    folder: Path, manifest: dict[str, Any], written: dict[str, Any], tables: Mapping[str, Table], seed: int
) -> StoreState[TableState]:
    _check_same(manifest, tables, seed)

    def read(name: str) -> tuple[Arrays, dict[str, Any]]:
        return read_arrays(folder / name, manifest["files"][name])

    files = [_table_file(i) for i, name in enumerate(written) if name in tables]
    loaded = dict(_table_state(*read(file)) for file in files)
    groups = sorted(shared_tables(tables.values()))
    multiplexed = _read_multiplexed(folder, read, groups)
    consumers = unpack(*read(_CONSUMERS))
    changed = any(written[name]["fallback"] != table.fallback for name, table in tables.items())
    if len(multiplexed) < len(groups) or changed:
        consumers = _resynced(consumers, [*tables, *groups])
    return StoreState(loaded, multiplexed, consumers, SavedPart(**manifest["part"]), _hash_of(manifest))


def ids_of(folder: Path | str) -> dict[str, Ids]:
    """The ids that have a row, by table. Raises TornCheckpointError, StateError as `load`."""
    folder = Path(folder)
    manifest = _read_manifest(folder)
    files = {spec["name"]: _table_file(i) for i, spec in enumerate(manifest["tables"])}
    return {name: read_arrays(folder / file, manifest["files"][file])[0]["ids"] for name, file in files.items()}


def verify(folder: Path | str) -> None:
    """Check every byte of a snapshot. Raises TornCheckpointError naming the file that is damaged or missing."""
    folder = Path(folder)
    for name, checksums in _read_manifest(folder)["files"].items():
        read_arrays(folder / name, checksums)


def is_snapshot(folder: Path) -> bool:
    """Whether a folder is a finished snapshot: its manifest has the checksums of all its files."""
    return (folder / MANIFEST).is_file() and (folder / _CONSUMERS).is_file()


def check_tables(folder: Path | str, tables: Mapping[str, Table], seed: int) -> None:
    """Raises as `load` for other tables, another seed, or a manifest that cannot be read; reads no rows."""
    manifest = _read_manifest(Path(folder))
    _check_names(manifest, tables)
    _check_same(manifest, tables, seed)


def _check_names(manifest: dict[str, Any], tables: Mapping[str, Table]) -> None:
    written = {spec["name"] for spec in manifest["tables"]}
    if names := sorted(written - tables.keys()):
        raise InvalidValueError(f"only the checkpoint has a table {names[0]!r}, the configuration none")
    if names := sorted(tables.keys() - written):
        raise InvalidValueError(f"only the configuration has a table {names[0]!r}, the checkpoint none")


def _check_same(manifest: dict[str, Any], tables: Mapping[str, Table], seed: int) -> None:
    if found := "; ".join(differences(manifest, tables, seed)):
        raise InvalidValueError(f"its rows are of other settings: {found}")


def _read_multiplexed(folder: Path, read: _Reader, groups: list[str]) -> _Shared:
    shared, _ = read(_MULTIPLEXED)
    written = {key.removesuffix(".weights") for key in shared if key.endswith(".weights")}
    if unread := written - set(groups):
        logger.warning("%s: no table reads %s any more, these rows are dropped", folder, ", ".join(sorted(unread)))
    kept = [group for group in groups if group in written]
    return {g: (shared[f"{g}.weights"], shared[f"{g}.state"], int(shared[f"{g}.step"][0])) for g in kept}


def _resynced(consumers: Mapping[str, ConsumerState], names: list[str]) -> dict[str, ConsumerState]:
    return resynced({name: entry.consumer.sequence for name, entry in consumers.items()}, names)


def _table_file(index: int) -> str:
    return f"table-{index:03d}.safetensors"


def _write_table(path: Path, name: str, stream: TableStream) -> dict[str, str]:
    n = stream.rows
    policies = {f"admission.{i}.{key}": v for i, state in enumerate(stream.admission) for key, v in state.items()}
    layout: Layout = {key: (value.dtype, value.shape) for key, value in policies.items()}
    layout |= {"ids": (np.uint64, (n,)), "seen": (np.int64, (n,)), "freq": (np.uint8, (n,))}
    layout |= {"weights": (np.float32, (n, stream.dim)), "state": (np.float32, (n, stream.width))}
    meta = {"name": name, "step": stream.step, "lookups": stream.lookups, "counters": stream.counters}
    with TensorWriter(path, layout, meta | {"admission": [sorted(state) for state in stream.admission]}) as writer:
        for key, value in policies.items():
            writer.write(key, value)
        for part in stream.parts:
            columns: tuple[npt.NDArray[Any], ...] = part
            for column, values in zip(_COLUMNS, columns, strict=True):
                writer.write(column, values)
    return writer.checksums


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


def _write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    body = json.dumps(manifest, indent=1, sort_keys=True)
    text = json.dumps({"sha256": hashlib.sha256(body.encode()).hexdigest(), "body": body})
    temporary = folder / (MANIFEST + ".new")
    with temporary.open("wb") as file:
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(folder / MANIFEST)
    _sync_folder(folder)


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    if not path.exists():
        raise TornCheckpointError(f"{path} is missing: the snapshot was not finished, load an earlier one")
    try:
        text = json.loads(path.read_bytes())
        intact = hashlib.sha256(text["body"].encode()).hexdigest() == text["sha256"]
        manifest: dict[str, Any] = json.loads(text["body"]) if intact else {}
    except (ValueError, KeyError, TypeError, AttributeError):
        manifest = {}
    if not manifest:
        raise TornCheckpointError(f"{path} is damaged: load an earlier snapshot")
    if manifest["format"] != FORMAT:
        raise StateError(f"{path}: format {manifest['format']}, this version reads {FORMAT} only")
    return manifest


def _hash_of(manifest: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
