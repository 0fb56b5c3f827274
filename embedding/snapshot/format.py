"""Snapshots of a store on disk, the same for every kind of store.

A snapshot is a folder of safetensors files and a manifest, written last, with the checksum of every tensor.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from itertools import starmap
from pathlib import Path
from typing import Any

import numpy as np

from embedding.multiplexed import shared_tables
from embedding.snapshot.arriving import Arriving, Take, mapped
from embedding.snapshot.consumer_state import ConsumerState, pack, resynced, unpack
from embedding.snapshot.differences import differences
from embedding.snapshot.increments import Base, SavedRows, completed
from embedding.snapshot.snapshot_manifest import (
    FORMAT,
    INCREMENT,
    MANIFEST,
    Manifest,
    hash_of,
    manifests_below,
    read_manifest,
    reading_base,
    sync_folder,
    write_manifest,
)
from embedding.snapshot.store_state import SavedPart, StoreState, TableStream
from embedding.snapshot.table_file import read_table, write_table
from embedding.snapshot.tensor_file import read_arrays, write_arrays
from embedding.store import Floats, Ids, Table
from embedding.table_state import Arrays, TableState
from embedding.value_checks import check_folder
from recsys.errors import InvalidValueError, TornCheckpointError

logger = logging.getLogger(__name__)

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
    sync_folder(folder)
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
    write_manifest(folder, manifest)
    return hash_of(manifest)


@contextmanager
def _advising() -> Iterator[None]:
    """Those who load one snapshot have to name another; those who only verify it choose by themselves."""
    try:
        yield
    except TornCheckpointError as error:
        raise TornCheckpointError(f"{error}: load an earlier snapshot") from error


@_advising()
def load(
    folder: Path | str,
    tables: Mapping[str, Table],
    seed: int,
    arriving: Arriving | None = None,
) -> StoreState[TableState]:
    """Read a snapshot, with arrays mapped from its files; every byte has been checked when this returns.

    But for what is `arriving` in the memory of rows: that is checked when it has arrived, and not before.

    Tables may have gained or lost multiplexed rows since: rows that no table reads are dropped with a warning, new ones
    are initialised, and consumers get a full resync.
    Raises TornCheckpointError naming the file that is damaged or missing, StateError for a snapshot of another format,
    InvalidValueError for another seed, other tables or no path.
    """
    check_folder("folder", folder)
    folder = Path(folder)
    manifest = read_manifest(folder)
    written = {spec["name"]: spec for spec in manifest["tables"]}
    _check_names(manifest, tables)
    return _load(folder, manifest, written, tables, seed, arriving)


@_advising()
def load_known(folder: Path | str, tables: Mapping[str, Table], seed: int) -> StoreState[TableState]:
    """As `load`, of those `tables` that the snapshot has, and without consumers."""
    folder = Path(folder)
    manifest = read_manifest(folder)
    written = {spec["name"]: spec for spec in manifest["tables"]}
    known = {name: table for name, table in tables.items() if name in written}
    state = _load(folder, manifest, written, known, seed)
    return StoreState(state.tables, state.multiplexed, {})


def _load(
    folder: Path,
    manifest: Manifest,
    written: dict[str, Any],
    tables: Mapping[str, Table],
    seed: int,
    arriving: Arriving | None = None,
) -> StoreState[TableState]:
    _check_same(manifest, tables, seed)

    def read(name: str, take: Take = mapped) -> tuple[Arrays, dict[str, Any]]:
        return read_arrays(folder / name, manifest["files"][name], take)

    older = manifests_below(folder, manifest)
    into = arriving.into if arriving and not older else lambda _: mapped  # an increment has not the values of all rows
    files = [(_table_file(i), into(name)) for i, name in enumerate(written) if name in tables]
    loaded = {
        name: state if values is None else completed(state, [values, *_older(older, name)], folder)
        for name, state, values in map(read_table, starmap(read, files))
    }
    groups = sorted(shared_tables(tables.values()))
    multiplexed = _read_multiplexed(folder, read, groups)
    consumers = unpack(*read(_CONSUMERS))
    changed = any(written[name]["fallback"] != table.fallback for name, table in tables.items())
    if len(multiplexed) < len(groups) or changed:
        consumers = _resynced(consumers, [*tables, *groups])
    return StoreState(loaded, multiplexed, consumers, SavedPart(**manifest["part"]), hash_of(manifest))


def ids_of(folder: Path | str) -> dict[str, Ids]:
    """The ids that have a row, by table. Raises TornCheckpointError, StateError as `load`."""
    folder = Path(folder)
    manifest = read_manifest(folder)
    files = {spec["name"]: _table_file(i) for i, spec in enumerate(manifest["tables"])}
    return {name: read_arrays(folder / file, manifest["files"][file])[0]["ids"] for name, file in files.items()}


def verify(folder: Path | str, whole: Callable[[Path], bool] = lambda _folder: False) -> None:
    """Check every byte of a snapshot, and of those that it builds on, but for those that are known to be `whole`.

    Raises TornCheckpointError naming the file that is damaged or missing; TornBaseError if it is of one of those.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    _verify_files(folder, manifest)
    for each, written in manifests_below(folder, manifest):
        if not whole(each):
            with reading_base(each):
                _verify_files(each, written)


def _verify_files(folder: Path, manifest: Manifest) -> None:
    for name, checksums in manifest["files"].items():
        read_arrays(folder / name, checksums)


def is_snapshot(folder: Path) -> bool:
    """Whether a folder is a finished snapshot: its manifest has the checksums of all its files."""
    return (folder / MANIFEST).is_file() and (folder / _CONSUMERS).is_file()


def check_tables(folder: Path | str, tables: Mapping[str, Table], seed: int) -> None:
    """Raises as `load` for other tables, another seed, or a manifest that cannot be read; reads no rows."""
    manifest = read_manifest(Path(folder))
    _check_names(manifest, tables)
    _check_same(manifest, tables, seed)


def _check_names(manifest: Manifest, tables: Mapping[str, Table]) -> None:
    written = {spec["name"] for spec in manifest["tables"]}
    if names := sorted(written - tables.keys()):
        raise InvalidValueError(f"only the checkpoint has a table {names[0]!r}, the configuration none")
    if names := sorted(tables.keys() - written):
        raise InvalidValueError(f"only the configuration has a table {names[0]!r}, the checkpoint none")


def _check_same(manifest: Manifest, tables: Mapping[str, Table], seed: int) -> None:
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


def _older(manifests: Iterable[tuple[Path, Manifest]], name: str) -> Iterator[SavedRows]:
    """What each of these snapshots has of a table."""
    for folder, manifest in manifests:
        file = _table_file([spec["name"] for spec in manifest["tables"]].index(name))
        _, state, values = read_table(read_arrays(folder / file, manifest["files"][file]))
        yield values or SavedRows(state.ids_U, state.weights_UD, state.state_UW)
