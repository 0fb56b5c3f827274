"""The manifest of a snapshot, and those of the snapshots that it builds on (see `increments`)."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from embedding.snapshot.increments import Base, place_from
from recsys.errors import StateError, TornBaseError, TornCheckpointError

MANIFEST = "manifest.json"
FORMAT = 3
INCREMENT = 4
"""The format of a snapshot that builds on another one."""
Manifest = dict[str, Any]


def base_for(folder: Path, base: Path, added: int) -> Base:
    """The complete snapshot in `base`, for an increment in `folder` whose tables have so many bytes.

    Raises TornCheckpointError if it, or one that it builds on, is missing or damaged.
    """
    manifest = read_manifest(base)
    manifests_below(base, manifest)
    before = manifest.get("base", {"increments": 0, "added": 0})
    return Base(place_from(folder, base), hash_of(manifest), before["increments"] + 1, before["added"] + added)


def chain(folder: Path | str) -> list[Path]:
    """The folders of the snapshots that one builds on, the youngest first; none for a full one.

    Raises TornBaseError if one is missing, or is not the one that was built on.
    """
    folder = Path(folder)
    return [each for each, _ in manifests_below(folder, read_manifest(folder))]


def manifests_below(folder: Path, manifest: Manifest) -> list[tuple[Path, Manifest]]:
    """As `chain`, of a snapshot whose manifest was read, each folder with its manifest."""
    found: list[tuple[Path, Manifest]] = []
    at = folder
    while "base" in manifest:
        base = Base(**manifest["base"])
        at = Path(os.path.normpath(at / base.folder))
        with reading_base(at):
            manifest = read_manifest(at)
        if hash_of(manifest) != base.manifest:
            raise TornBaseError(f"{at} is not the snapshot that {folder} builds on", at)
        found.append((at, manifest))
    return found


@contextmanager
def reading_base(folder: Path) -> Iterator[None]:
    """A damaged snapshot in `folder` is one that another one builds on."""
    try:
        yield
    except TornCheckpointError as error:
        raise TornBaseError(str(error), folder) from error


def write_manifest(folder: Path, manifest: Manifest) -> None:
    body = json.dumps(manifest, indent=1, sort_keys=True)
    text = json.dumps({"sha256": hashlib.sha256(body.encode()).hexdigest(), "body": body})
    temporary = folder / (MANIFEST + ".new")
    with temporary.open("wb") as file:
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(folder / MANIFEST)
    sync_folder(folder)


def read_manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST
    if not path.exists():
        raise TornCheckpointError(f"{path} is missing: the snapshot was not finished")
    try:
        text = json.loads(path.read_bytes())
        intact = hashlib.sha256(text["body"].encode()).hexdigest() == text["sha256"]
        manifest: Manifest = json.loads(text["body"]) if intact else {}
    except (ValueError, KeyError, TypeError, AttributeError):
        manifest = {}
    if not manifest:
        raise TornCheckpointError(f"{path} is damaged")
    if manifest["format"] not in (FORMAT, INCREMENT):
        raise StateError(f"{path}: format {manifest['format']}, this version reads {FORMAT} and {INCREMENT} only")
    return manifest


def hash_of(manifest: Manifest) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
