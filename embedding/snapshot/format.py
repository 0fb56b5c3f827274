"""Snapshots of a store on disk, the same for every kind of store.

A snapshot is a folder of safetensors files and a manifest, written last, with the checksum of every tensor.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from embedding.multiplexed import shared_tables
from embedding.number_checks import check_folder
from embedding.snapshot.consumer_state import ConsumerState, pack, resynced, unpack
from embedding.snapshot.differences import differences
from embedding.snapshot.increments import Base, SavedRows, completed, place_from
from embedding.snapshot.store_state import SavedPart, StoreState, TableStream
from embedding.snapshot.table_file import read_table, write_table
from embedding.snapshot.tensor_file import read_arrays, write_arrays
from embedding.store import Floats, Ids, Table
from embedding.table_state import Arrays, TableState
from recsys.errors import InvalidValueError, StateError, TornCheckpointError

logger = logging.getLogger(__name__)

MANIFEST = "manifest.json"
FORMAT = 3
INCREMENT = 4
"""The format of a snapshot that builds on another one (see `increments`)."""
_CONSUMERS, _MULTIPLEXED = "consumers.safetensors", "multiplexed.safetensors"
_Reader = Callable[[str], tuple[Arrays, dict[str, Any]]]
_Shared = dict[str, tuple[Floats, Floats, int]]


def save(
    folder: Path | str,
    tables: Mapping[str, Table],
    seed: int,
    state: StoreState[TableStream],
    base: Base | None = None,
) -> str:
    """Write all files, then the manifest; each reaches the disk before the next step. Raises OSError if it cannot.

    With a `base` it is an increment. Returns the hash of the manifest. Raises InvalidValueError for no path.
    """
    check_folder("folder", folder)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)
    _sync_folder(folder)
    files = {}
    for i, (name, stream) in enumerate(state.tables.items()):
        files[_table_file(i)] = write_table(folder / _table_file(i), name, stream)
    files[_CONSUMERS] = write_arrays(folder / _CONSUMERS, *pack(state.consumers))
    shared: Arrays = {}
    for name, (weights, rule_state, step) in state.multiplexed.items():
        shared |= {f"{name}.weights": weights, f"{name}.state": rule_state, f"{name}.step": np.array([step])}
    files[_MULTIPLEXED] = write_arrays(folder / _MULTIPLEXED, shared, {})
    specs = [asdict(table) for table in tables.values()]
    manifest = {"format": FORMAT, "seed": seed, "part": asdict(state.part), "tables": specs, "files": files}
    if base is not None:
        manifest |= {"format": INCREMENT, "base": asdict(base)}
    _write_manifest(folder, manifest)
    return _hash_of(manifest)


def base_for(folder: Path, base: Path, added: int) -> Base:
    """The complete snapshot in `base`, for an increment in `folder` whose tables have so many bytes.

    Raises TornCheckpointError if it, or one that it builds on, is missing or damaged.
    """
    chain(base)
    manifest = _read_manifest(base)
    before = manifest.get("base", {"increments": 0, "added": 0})
    return Base(place_from(folder, base), _hash_of(manifest), before["increments"] + 1, before["added"] + added)


def chain(folder: Path | str) -> list[Path]:
    """The folders of the snapshots that one builds on, the youngest first; none for a full one.

    Raises TornCheckpointError if one is missing, or is not the one that was built on.
    """
    found: list[Path] = []
    at, manifest = Path(folder), _read_manifest(Path(folder))
    while "base" in manifest:
        base = Base(**manifest["base"])
        at = Path(os.path.normpath(at / base.folder))
        manifest = _read_manifest(at)
        if _hash_of(manifest) != base.manifest:
            raise TornCheckpointError(f"{at} is not the snapshot that {folder} builds on")
        found.append(at)
    return found


@contextmanager
def _advising() -> Iterator[None]:
    """Those who load one snapshot have to name another; those who only verify it choose by themselves."""
    try:
        yield
    except TornCheckpointError as error:
        raise TornCheckpointError(f"{error}: load an earlier snapshot") from error


@_advising()
def load(folder: Path | str, tables: Mapping[str, Table], seed: int) -> StoreState[TableState]:
    """Read a snapshot, with arrays mapped from its files; every byte has been checked when this returns.

    Tables may have gained or lost multiplexed rows since: rows that no table reads are dropped with a warning, new ones
    are initialised, and consumers get a full resync.
    Raises TornCheckpointError naming the file that is damaged or missing, StateError for a snapshot of another format,
    InvalidValueError for another seed, other tables or no path.
    """
    check_folder("folder", folder)
    folder = Path(folder)
    manifest = _read_manifest(folder)
    written = {spec["name"]: spec for spec in manifest["tables"]}
    _check_names(manifest, tables)
    return _load(folder, manifest, written, tables, seed)


@_advising()
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
    loaded = {name: _whole(folder, name, state, values) for name, state, values in map(read_table, map(read, files))}
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
    """Check every byte of a snapshot, and of those that it builds on.

    Raises TornCheckpointError naming the file that is damaged or missing.
    """
    for each in (Path(folder), *chain(folder)):
        for name, checksums in _read_manifest(each)["files"].items():
            read_arrays(each / name, checksums)


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


def _whole(folder: Path, name: str, state: TableState, values: SavedRows | None) -> TableState:
    """A table with all its values; `values` are what an increment has of them itself."""
    return state if values is None else completed(state, [values, *_older(folder, name)], folder)


def _older(folder: Path, name: str) -> Iterator[SavedRows]:
    for each in chain(folder):
        manifest = _read_manifest(each)
        file = _table_file([spec["name"] for spec in manifest["tables"]].index(name))
        _, state, values = read_table(read_arrays(each / file, manifest["files"][file]))
        yield values or SavedRows(state.ids_U, state.weights_UD, state.state_UW)


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
        raise TornCheckpointError(f"{path} is missing: the snapshot was not finished")
    try:
        text = json.loads(path.read_bytes())
        intact = hashlib.sha256(text["body"].encode()).hexdigest() == text["sha256"]
        manifest: dict[str, Any] = json.loads(text["body"]) if intact else {}
    except (ValueError, KeyError, TypeError, AttributeError):
        manifest = {}
    if not manifest:
        raise TornCheckpointError(f"{path} is damaged")
    if manifest["format"] not in (FORMAT, INCREMENT):
        raise StateError(f"{path}: format {manifest['format']}, this version reads {FORMAT} and {INCREMENT} only")
    return manifest


def _hash_of(manifest: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
