"""Checkpoints on disk: complete, or refused.

A checkpoint is a folder `step-N`. Each rank (trainer of a group) writes a part, the folder `rank-R`, and then
`rank-R.json`, which lists the part's files with size and SHA-256. When all parts are there, rank 0 writes the manifest,
which lists all files, and renames the folder, which was `step-N.partial` until then. So a crash leaves either a
complete checkpoint or a partial folder, which the next start removes. Of a snapshot of the embedding store only its own
manifest is listed, which has the checksums of the others.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from embedding.snapshot import format as snapshot
from recsys.errors import CheckpointError, InvalidValueError, TornCheckpointError
from streaming.log.durable_files import replace, sync

logger = logging.getLogger(__name__)

MANIFEST = "manifest.json"
FORMAT = 3
_POLL = 0.01
"""Seconds between two looks for the parts of other ranks."""

Files = dict[str, tuple[int, str]]
"""Size and SHA-256 of files, by path in the checkpoint."""


class Checkpoints:
    """The newest `keep` checkpoints in `folder`.

    Rank 0 waits at most `patience` seconds for the parts of the others. `crash` is called with the name of every point
    between two writes; a test makes it raise or kill.
    """

    def __init__(
        self,
        folder: Path,
        keep: int = 3,
        crash: Callable[[str], None] = lambda _point: None,
        patience: float = 600.0,
    ) -> None:
        self.folder = folder
        self._keep = keep
        self._crash = crash
        self._patience = patience
        self._undeletable: set[Path] = set()

    @contextmanager
    def writing(self, step: int, rank: int = 0, world: int = 1) -> Iterator[Path]:
        """A folder for the files of `rank`; its part is complete when the block ends without an exception.

        The block of rank 0 ends when the checkpoint is complete, with the parts of all `world` ranks. Raises
        CheckpointError, and nothing is left, if the disk is full or fails, or if a part does not come.
        """
        final = self.folder / f"step-{step:012d}"
        part = _Part(final.with_name(f"{final.name}.partial"), rank)
        try:
            part.start()
            yield part.folder
            self._crash("files written")
            part.finish(world)
            self._crash("part written")
            if rank == 0:
                self._complete(part.partial, final, world)
        except CheckpointError:
            raise
        except (OSError, SafetensorError) as error:
            raise CheckpointError(
                f"checkpoint {final} could not be written: {error}. "
                "The previous one is unchanged and can be resumed from: make room on the disk or mend its permissions"
            ) from error
        finally:
            if not part.finished or rank == 0:
                part.remove()
        if rank == 0:
            self._crash("renamed")
            self._prune(final)

    def _complete(self, partial: Path, final: Path, world: int) -> None:
        contents = self._parts(partial, world)
        for rank in range(world):
            _listing(partial, rank).unlink()
        replace(partial / MANIFEST, json.dumps({"format": FORMAT, "world": world} | contents, indent=1).encode())
        self._crash("manifest written")
        shutil.rmtree(final, ignore_errors=True)
        partial.rename(final)
        sync(self.folder)

    def _parts(self, partial: Path, world: int) -> dict[str, Any]:
        """The files and snapshots of all ranks, once all are written."""
        listings = [_listing(partial, rank) for rank in range(world)]
        deadline = time.monotonic() + self._patience
        while missing := [rank for rank, listing in enumerate(listings) if not listing.exists()]:
            if time.monotonic() >= deadline:
                raise CheckpointError(f"{partial} has no part of rank {missing[0]} after {self._patience:g} s")
            time.sleep(_POLL)
        files: Files = {}
        snapshots: list[str] = []
        for listing in listings:
            written = json.loads(listing.read_bytes())
            if written["world"] != world:
                raise CheckpointError(f"{listing.stem} is one of {written['world']} ranks, rank 0 one of {world}")
            files |= written["files"]
            snapshots += written["snapshots"]
        return {"files": files, "snapshots": snapshots}

    def newest(self) -> Path | None:
        """The newest complete checkpoint; None if there is no checkpoint. Damaged ones are logged as warnings.

        Raises TornCheckpointError if all are damaged, because only the user may decide to start from nothing.
        """
        refused = []
        for path in reversed(self.all()):
            try:
                verify(path)
            except TornCheckpointError as error:
                logger.warning("checkpoint refused, trying the previous one: %s", error)
                refused.append(str(error))
            else:
                return path
        if refused:
            raise TornCheckpointError(
                f"no checkpoint in {self.folder} is complete ({'; '.join(refused)}): restore one from a copy, or move "
                "the folder away to train from the beginning of the log"
            )
        return None

    def all(self) -> list[Path]:
        """Oldest first; not verified."""
        return sorted(p for p in self.folder.glob("step-*") if p.is_dir() and p.suffix != ".partial")

    def remove_unfinished(self) -> None:
        """Remove what a crash has left. Call it in one process, before the ranks of a group start to train."""
        for path in self.folder.glob("*.partial"):
            shutil.rmtree(path, ignore_errors=True)

    def _prune(self, newest: Path) -> None:
        """Keep `newest` and those before it. Those after it were damaged when training resumed from before them."""
        found = self.all()
        end = found.index(newest) + 1
        for path in found[: max(end - self._keep, 0)] + found[end:]:
            self._remove(path)
        for path in self.folder.glob("*.partial"):
            if path.name < newest.name:  # later ones may have parts of ranks that are ahead
                shutil.rmtree(path, ignore_errors=True)

    def _remove(self, path: Path) -> None:
        """One that cannot be deleted takes room, no more: a warning, once."""
        try:
            shutil.rmtree(path)
        except OSError as error:
            if path not in self._undeletable:
                logger.warning(
                    "old checkpoint %s cannot be deleted: %s. Delete it by hand to free its room", path, error
                )
            self._undeletable.add(path)


@dataclass(slots=True)
class _Part:
    """What one rank writes into a checkpoint that is not complete yet."""

    partial: Path
    rank: int
    finished: bool = False

    @property
    def folder(self) -> Path:
        return self.partial / f"rank-{self.rank}"

    def start(self) -> None:
        """Make the folder, empty."""
        self.partial.mkdir(parents=True, exist_ok=True)
        _listing(self.partial, self.rank).unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()

    def finish(self, world: int) -> None:
        """Bring all files to the disk, then list them; of a snapshot, which has done so, the manifest alone."""
        files: Files = {}
        snapshots = [p for p in sorted(self.folder.rglob("*")) if p.is_dir() and snapshot.is_snapshot(p)]
        for file in sorted(p for p in self.folder.rglob("*") if p.is_file()):
            if file.parent in snapshots and file.name != snapshot.MANIFEST:
                continue
            sync(file)
            files[str(file.relative_to(self.partial))] = (file.stat().st_size, _digest(file))
        for inner in [self.folder, *(p for p in self.folder.rglob("*") if p.is_dir())]:
            sync(inner)
        names = [str(p.relative_to(self.partial)) for p in snapshots]
        listing = {"world": world, "files": files, "snapshots": names}
        replace(_listing(self.partial, self.rank), json.dumps(listing).encode())
        self.finished = True

    def remove(self) -> None:
        """Remove what was written: of rank 0, whose failure is that of the checkpoint, the parts of all."""
        shutil.rmtree(self.folder if self.rank else self.partial, ignore_errors=True)


def part(path: Path, rank: int = 0, world: int = 1) -> Path:
    """The folder of `rank` in the verified checkpoint `path`. Raises InvalidValueError if its world is another."""
    written = _manifest(path)["world"]
    if written != world:
        raise InvalidValueError(f"{path} was written by {written} trainers: it cannot be loaded by {world}")
    return path / f"rank-{rank}"


def verify(path: Path) -> None:
    """Raise TornCheckpointError naming the first file that is missing, or of another size or content."""
    manifest = _manifest(path)
    for name, (size, digest) in sorted(manifest["files"].items()):
        file = path / name
        if not file.is_file():
            raise TornCheckpointError(f"{file} is missing")
        if file.stat().st_size != size:
            raise TornCheckpointError(f"{file} has {file.stat().st_size} bytes, the manifest says {size}")
        if _digest(file) != digest:
            raise TornCheckpointError(f"{file} is damaged: its SHA-256 is not that of the manifest")
    for name in manifest["snapshots"]:
        snapshot.verify(path / name)


def _manifest(path: Path) -> dict[str, Any]:
    """The manifest, with a part of every rank in it. Raises TornCheckpointError."""
    try:
        manifest: dict[str, Any] = json.loads((path / MANIFEST).read_bytes())
        ranks = {name.partition("/")[0] for name in manifest["files"]}
        complete = ranks == {f"rank-{rank}" for rank in range(manifest["world"])}
        version, _ = manifest["format"], manifest["snapshots"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise TornCheckpointError(f"{path / MANIFEST} is missing or damaged") from None
    if version != FORMAT:
        raise TornCheckpointError(f"{path / MANIFEST} has format {version}, this version reads {FORMAT}")
    if not complete:
        raise TornCheckpointError(f"{path / MANIFEST} lists parts of {len(ranks)} ranks, not {manifest['world']}")
    return manifest


def _listing(partial: Path, rank: int) -> Path:
    return partial / f"rank-{rank}.json"


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
