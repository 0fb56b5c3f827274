"""The manifest of a checkpoint: what must be in the folder, and whether it is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Container
from pathlib import Path
from typing import Any

from embedding.snapshot import format as snapshot
from recsys.errors import InvalidValueError, TornBaseError, TornCheckpointError
from recsys.training.checkpoint.file_digest import file_digest

MANIFEST = "manifest.json"
FORMAT = 4
_WITHOUT_RUN = 3
"""The format before, which does not name its run."""
RUN = "run"
"""The file of a part that names the run."""


def part_folder(path: Path, rank: int = 0, world: int = 1) -> Path:
    """The folder of `rank` in the verified checkpoint `path`. Raises InvalidValueError for another `world`."""
    written = _manifest(path)["world"]
    if written != world:
        raise InvalidValueError(f"{path} was written by {written} trainers: it cannot be loaded by {world}")
    return path / f"rank-{rank}"


def check_manifest(path: Path) -> None:
    """As `verify`, without a look at the files that the manifest lists."""
    _manifest(path)


def bases(path: Path) -> list[Path]:
    """The checkpoints whose embedding rows the complete checkpoint `path` builds on, oldest first; none if damaged."""
    try:
        return [path.with_name(name) for name in named_bases((path / MANIFEST).read_bytes())]
    except OSError:
        return []


def named_bases(manifest: bytes) -> list[str]:
    """The names of the checkpoints that one with this manifest builds on, oldest first; none if it is damaged."""
    try:
        return [str(name) for name in json.loads(manifest).get("bases", [])]
    except (ValueError, AttributeError, TypeError):
        return []


def saved_run(path: Path) -> str:
    """The run that the verified checkpoint `path` belongs to; one of format 3 gets a name that is always the same."""
    if _manifest(path)["format"] == _WITHOUT_RUN:
        return hashlib.sha256((path / MANIFEST).read_bytes()).hexdigest()[:8]
    return (path / "rank-0" / RUN).read_text()


def verify(path: Path, whole: Container[str] = ()) -> None:
    """Raise TornCheckpointError naming the first file that is missing, or of another size or content, and if that is of
    a checkpoint which this one builds on, both. What checkpoints of the names `whole` hold was verified before.
    """
    manifest = _manifest(path)
    for name, (size, digest) in sorted(manifest["files"].items()):
        file = path / name
        if not file.is_file():
            raise TornCheckpointError(f"{file} is missing")
        if file.stat().st_size != size:
            raise TornCheckpointError(f"{file} has {file.stat().st_size} bytes, the manifest says {size}")
        if file_digest(file) != digest:
            raise TornCheckpointError(f"{file} is damaged: its SHA-256 is not that of the manifest")
    for name in manifest["snapshots"]:
        try:
            snapshot.verify(path / name, lambda folder: _beside(path, folder) in whole)
        except TornBaseError as error:
            raise TornCheckpointError(f"{path} builds on {_beside(path, error.base)}: {error}") from error


def _beside(path: Path, folder: Path) -> str:
    """The name of the checkpoint in the same folder as `path` that has this folder in it."""
    return folder.relative_to(path.parent).parts[0]


def _manifest(path: Path) -> dict[str, Any]:
    """The manifest, with a part of every rank in it. Raises TornCheckpointError."""
    try:
        manifest: dict[str, Any] = json.loads((path / MANIFEST).read_bytes())
        ranks = {name.partition("/")[0] for name in manifest["files"]}
        complete = ranks == {f"rank-{rank}" for rank in range(manifest["world"])}
        version, _ = manifest["format"], manifest["snapshots"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise TornCheckpointError(f"{path / MANIFEST} is missing or damaged") from None
    if version not in (_WITHOUT_RUN, FORMAT):
        raise TornCheckpointError(f"{path / MANIFEST} has format {version}, this version reads {FORMAT}")
    if not complete:
        raise TornCheckpointError(f"{path / MANIFEST} lists parts of {len(ranks)} ranks, not {manifest['world']}")
    return manifest
