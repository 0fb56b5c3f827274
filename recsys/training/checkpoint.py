"""Checkpoints on disk: whole or refused.

A checkpoint is a folder `step-N` whose `manifest.json`, written last, names every file with its size and SHA-256. The
folder appears under its name by one rename, so a crash leaves either the whole checkpoint or a `.partial` folder that
the next save removes.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from streaming.log.durable_files import sync

logger = logging.getLogger(__name__)

MANIFEST = "manifest.json"


class CheckpointError(OSError):
    """A checkpoint could not be written, and nothing of it is left."""


class TornCheckpointError(ValueError):
    """A checkpoint that must not be loaded; says which file is wrong, and how."""


class Checkpoints:
    """The newest `keep` checkpoints in `folder`.

    `crash` is called with the name of every point between two writes; a test makes it raise or kill.
    """

    def __init__(self, folder: Path, keep: int = 3, crash: Callable[[str], None] = lambda _point: None) -> None:
        self.folder = folder
        self._keep = keep
        self._crash = crash

    @contextmanager
    def writing(self, step: int) -> Iterator[Path]:
        """A folder to write into; it becomes checkpoint `step` when the block ends without an exception.

        Raises CheckpointError when the disk is full or fails.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = self.folder / f"step-{step:012d}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        try:
            yield partial
            self._crash("files written")
            _write_manifest(partial)
            self._crash("manifest written")
            final = partial.with_suffix("")
            shutil.rmtree(final, ignore_errors=True)
            partial.rename(final)
            sync(self.folder)
        except (OSError, SafetensorError) as error:
            raise CheckpointError(
                f"checkpoint {partial.with_suffix('')} could not be written: {error}. "
                "The one before is as it was: make room, then start again to go on from it"
            ) from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        self._crash("renamed")
        self._prune(final)

    def newest(self) -> Path | None:
        """The newest checkpoint that is whole, None when there is none at all. Torn ones are named in the log.

        Raises TornCheckpointError when all are torn: to forget what was learned is not for us to decide.
        """
        refused = []
        for path in reversed(self.all()):
            try:
                verify(path)
            except TornCheckpointError as error:
                logger.warning("checkpoint refused, trying the one before: %s", error)
                refused.append(str(error))
            else:
                return path
        if refused:
            raise TornCheckpointError(
                f"no checkpoint in {self.folder} is whole ({'; '.join(refused)}): restore one from a copy, or move "
                "the folder away to learn anew from the beginning of the log"
            )
        return None

    def all(self) -> list[Path]:
        """Oldest first; not verified."""
        return sorted(p for p in self.folder.glob("step-*") if p.is_dir() and p.suffix != ".partial")

    def _prune(self, newest: Path) -> None:
        """Keep `newest` and what came before it. What is named after it was torn when training resumed before it."""
        found = self.all()
        end = found.index(newest) + 1
        for path in found[: max(end - self._keep, 0)] + found[end:]:
            shutil.rmtree(path)
        for path in self.folder.glob("*.partial"):
            shutil.rmtree(path, ignore_errors=True)


def verify(path: Path) -> None:
    """Raises TornCheckpointError naming the first file that is missing, of another size or of other content."""
    try:
        files = json.loads((path / MANIFEST).read_bytes())["files"]
    except (OSError, ValueError, KeyError, TypeError):
        raise TornCheckpointError(f"{path / MANIFEST} is missing or damaged") from None
    for name, (size, digest) in sorted(files.items()):
        file = path / name
        if not file.is_file():
            raise TornCheckpointError(f"{file} is missing")
        if file.stat().st_size != size:
            raise TornCheckpointError(f"{file} has {file.stat().st_size} bytes, its manifest says {size}")
        if _digest(file) != digest:
            raise TornCheckpointError(f"{file} does not have the content its manifest names (SHA-256 differs)")


def _write_manifest(folder: Path) -> None:
    files = {}
    for file in sorted(p for p in folder.rglob("*") if p.is_file()):
        sync(file)
        files[str(file.relative_to(folder))] = (file.stat().st_size, _digest(file))
    for inner in sorted(p for p in folder.rglob("*") if p.is_dir()):
        sync(inner)
    manifest = folder / MANIFEST
    manifest.write_text(json.dumps({"files": files}, indent=1))
    sync(manifest)
    sync(folder)


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
