"""What a trainer learns from, kept while it learns."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from recsys.errors import StateError
from streaming.encode.batch import TrainingBatch
from streaming.kept.batch_files import (
    EndedFile,
    FileContent,
    GrowingFile,
    batch_files,
    remove_before,
    remove_unfinished,
)
from streaming.kept.batch_format import BatchOrigin, KeptBatch

logger = logging.getLogger(__name__)


class KeptBatches:
    """Keeps the batches of a run in `folder`, and removes what is older than its newest by `keep` (event time, ms).

    A file ends with every checkpoint and is durable before the checkpoint is complete. So whichever a trainer goes on
    from, the files up to it are whole, and those after it go and are written again. Batches since the last checkpoint
    are in memory.
    """

    def __init__(self, folder: Path, origin: BatchOrigin, keep: int | None = None) -> None:
        self._folder, self._origin, self._keep = folder, origin, keep
        self._run = folder
        self._growing = GrowingFile(origin)
        self._ended: list[EndedFile] = []
        """To be written, under the lock."""
        self._forgotten: set[str] = set()
        """Users whose rows are to go from the files that are written, under the lock."""
        self._lock = threading.Lock()
        self._erased: tuple[str, ...] = ()

    def begin(self, run: str, step: int) -> None:
        """Go on after a step of a run: what was kept of later ones goes. Raises OSError."""
        self._run = self._folder / run
        self._run.mkdir(parents=True, exist_ok=True)
        remove_unfinished(self._run)
        for file in batch_files(self._run):
            if file.first > step:
                file.path.unlink()
            elif file.last > step:  # it was written without checkpoints
                content = file.content()
                file.rewrite(content.origin, (kept for kept in content if kept.step <= step))

    def add(self, step: int, batch: TrainingBatch) -> None:
        """The step with this number learns from the batch."""
        self._growing.add(KeptBatch(step, batch, self._erased))
        self._erased = ()

    def forget(self, users: Sequence[str]) -> None:
        """These users are erased before the next step: their rows go from what is not written yet, and from the files
        of this run before the next is written, because some may have been written since the erasure was asked for.
        """
        self._erased += tuple(users)
        self._end()
        with self._lock:
            self._ended = [self._without(file, users) for file in self._ended]
            self._forgotten.update(users)

    def end_file(self) -> Callable[[], None]:
        """End the file of the batches so far; the function returned writes it, from any thread, or raises OSError.

        What could not be written is written with the next one.
        """
        self._end()
        return self._write

    def _end(self) -> None:
        if self._growing:
            with self._lock:
                self._ended.append(self._growing.finish())
            self._growing = GrowingFile(self._origin)

    def _write(self) -> None:
        with self._lock:
            self._run.mkdir(parents=True, exist_ok=True)  # what another trainer keeps may have made it old
            self._drop_forgotten()
            while self._ended:
                file = self._ended[0]
                file.write(self._run)
                del self._ended[0]
                if self._keep is not None:
                    remove_before(self._folder, file.clock - self._keep)

    def _drop_forgotten(self) -> None:
        for file in batch_files(self._run) if self._forgotten else []:
            try:
                file.drop(sorted(self._forgotten))
            except StateError as error:
                logger.warning("erased users may be left in it: %s", error)
        self._forgotten.clear()

    def _without(self, file: EndedFile, users: Sequence[str]) -> EndedFile:
        new = GrowingFile(self._origin)
        for kept in FileContent(file.data).without(users):
            new.add(kept)
        return new.finish()
