"""The checkpoints of one trainer, or of one group of trainers."""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from recsys.errors import CheckpointError, TornCheckpointError
from recsys.training.checkpoint.manifest import FORMAT, MANIFEST, bases, verify
from recsys.training.checkpoint.rank_part import Files, RankPart, listing
from streaming.log.durable_files import replace, sync

logger = logging.getLogger(__name__)

_POLL = 0.01
"""Seconds between checks for the parts of other ranks."""


class Checkpoints:
    """The newest `keep` checkpoints in `folder`, and those that they build on.

    Rank 0 waits at most `patience` seconds for the parts of the others. `crash` is called with the name of every point
    between two writes; a test makes it raise or kill. What is `in_use` is not removed yet.
    """

    def __init__(
        self,
        folder: Path,
        keep: int = 3,
        crash: Callable[[str], None] = lambda _point: None,
        patience: float = 600.0,
        in_use: Callable[[Path], bool] = lambda _path: False,
    ) -> None:
        self.folder = folder
        self._keep = keep
        self._crash = crash
        self._patience = patience
        self._in_use = in_use
        self._undeletable: set[Path] = set()

    @contextmanager
    def writing(self, step: int, rank: int = 0, world: int = 1) -> Iterator[Path]:
        """A folder for the files of `rank`; its part is complete when the block ends without an exception.

        The block of rank 0 ends when the checkpoint is complete, with the parts of all `world` ranks. Raises
        CheckpointError and leaves nothing if the disk is full or fails, or if a part does not arrive.
        """
        final = self.of_step(step)
        part = RankPart(final.with_name(f"{final.name}.partial"), rank)
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
        except (OSError, SafetensorError, TornCheckpointError) as error:  # the last: of one that this one builds on
            raise CheckpointError(
                f"checkpoint {final} could not be written: {error}. "
                "The previous one is unchanged and can be resumed from: make room on the disk or fix its permissions"
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
            listing(partial, rank).unlink()
        replace(partial / MANIFEST, json.dumps({"format": FORMAT, "world": world} | contents, indent=1).encode())
        self._crash("manifest written")
        shutil.rmtree(final, ignore_errors=True)
        partial.rename(final)
        sync(self.folder)

    def _parts(self, partial: Path, world: int) -> dict[str, Any]:
        """The files and snapshots of all ranks, once all are written."""
        lists = [listing(partial, rank) for rank in range(world)]
        deadline = time.monotonic() + self._patience
        while missing := [rank for rank, file in enumerate(lists) if not file.exists()]:
            if time.monotonic() >= deadline:
                raise CheckpointError(f"{partial} has no part of rank {missing[0]} after {self._patience:g} s")
            time.sleep(_POLL)
        files: Files = {}
        snapshots: list[str] = []
        bases: set[str] = set()
        for file in lists:
            written = json.loads(file.read_bytes())
            if written["world"] != world:
                raise CheckpointError(f"{file.stem} is one of {written['world']} ranks, rank 0 one of {world}")
            files |= written["files"]
            snapshots += written["snapshots"]
            bases |= set(written["bases"])
        return {"files": files, "snapshots": snapshots, "bases": sorted(bases)}

    def newest(self) -> Path | None:
        """The newest complete checkpoint; None if there is no checkpoint. Damaged ones are logged as warnings.

        Raises TornCheckpointError if all are damaged, because only the user may decide to start from nothing.
        """
        refused = []
        for path in reversed(self.all()):
            try:
                verify(path)
            except TornCheckpointError as error:
                logger.warning("checkpoint %s refused, trying the previous one: %s", path.name, error)
                refused.append(str(error))
            else:
                return path
        if refused:
            raise TornCheckpointError(
                f"no checkpoint in {self.folder} is complete ({'; '.join(refused)}): restore one from a copy, or move "
                "the folder away to train from the beginning of the log"
            )
        return None

    def of_step(self, step: int) -> Path:
        return self.folder / f"step-{step:012d}"

    def has(self, name: str, manifest: bytes, whole: Container[str] = ()) -> bool:
        """Whether the checkpoint of this name is here, whole, and with this manifest; for `whole` see `verify`."""
        path = self.folder / name
        try:
            verify(path, whole)
        except TornCheckpointError:
            return False
        return (path / MANIFEST).read_bytes() == manifest

    def all(self) -> list[Path]:
        """Oldest first; not verified."""
        return sorted(p for p in self.folder.glob("step-*") if p.is_dir() and p.suffix != ".partial")

    def remove_unfinished(self) -> None:
        """Remove what a crash left. Call it in one process, before the ranks of a group start to train."""
        for path in self.folder.glob("*.partial"):
            shutil.rmtree(path, ignore_errors=True)

    def _prune(self, newest: Path) -> None:
        """Keep `newest`, those before it, and what they build on.

        Those after it were damaged when training resumed from before them.
        """
        found = self.all()
        end = found.index(newest) + 1
        kept = {*found[max(end - self._keep, 0) : end], *filter(self._in_use, found)}
        kept |= {base for path in kept for base in bases(path)}
        for path in found:
            if path not in kept:
                self._remove(path)
        for path in self.folder.glob("*.partial"):
            if path.name < newest.name:  # later ones may have parts of ranks that are ahead
                shutil.rmtree(path, ignore_errors=True)

    def _remove(self, path: Path) -> None:
        """Delete a checkpoint; one that cannot be deleted only takes room, so warn once."""
        try:
            shutil.rmtree(path)
        except OSError as error:
            if path not in self._undeletable:
                logger.warning(
                    "old checkpoint %s cannot be deleted: %s. Delete it by hand to free its room", path, error
                )
            self._undeletable.add(path)
