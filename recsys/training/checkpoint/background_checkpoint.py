"""The checkpoint that is being written while training goes on."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from embedding.snapshot.background import BackgroundSave
from recsys.errors import CheckpointError
from recsys.training.checkpoint.checkpoints import Checkpoints
from streaming.log.event_log import Cursor

logger = logging.getLogger(__name__)


class BackgroundCheckpoint:
    """Writes one checkpoint at a time.

    `capture` copies the current state and returns what writes it into a folder; `completed` is called, from the thread
    that asks, with the cursor of a checkpoint that is complete. `now` gives seconds since the epoch.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        capture: Callable[[Path], Callable[[], None]],
        completed: Callable[[Cursor], None],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._checkpoints, self._capture, self._completed, self._now = checkpoints, capture, completed, now
        self.saved_step = -1
        """The step of the last complete checkpoint."""
        self.saved_at: float | None = None
        """When it was complete, in seconds since the epoch; None if this process has not written one."""
        self._failed = False
        """Whether the last one could not be written."""
        self._saving: tuple[BackgroundSave, int, Cursor] | None = None

    @property
    def saved(self) -> Path | None:
        """The last complete checkpoint."""
        return self._checkpoints.of_step(self.saved_step) if self.saved_step >= 0 else None

    @property
    def must_retry(self) -> bool:
        """Whether the last one failed and none is being written."""
        return self._failed and self._saving is None

    @property
    def written(self) -> bool:
        """Whether one has been written, or has failed, and was not finished yet."""
        return self._saving is not None and self._saving[0].done()

    @property
    def report(self) -> dict[str, int]:
        """`step` of the last complete one, and when it was `written` (ms) if this process did it."""
        return {"step": self.saved_step} | ({} if self.saved_at is None else {"written": int(self.saved_at * 1000)})

    def begin(self, step: int, cursor: Cursor) -> None:
        """Capture the current state and start to write it. Raises CheckpointError."""
        with ExitStack() as stack:
            write = self._capture(stack.enter_context(self._checkpoints.writing(step)))
            writing = stack.pop_all()

        def complete() -> None:
            with writing:
                write()

        self._saving = BackgroundSave(complete), step, cursor

    def finish(self) -> None:
        """Wait for what is being written. Raises CheckpointError."""
        if self._saving is None:
            return
        saving, step, cursor = self._saving
        self._saving = None
        saving.result()
        self.saved_step, self.saved_at, self._failed = step, self._now(), False
        self._completed(cursor)

    def settle(self, next_one: tuple[int, Cursor] | None = None) -> None:
        """Finish the pending one, and begin the next, of a step and cursor. Consecutive failures are logged once."""
        try:
            self.finish()
            if next_one is not None:
                self.begin(*next_one)
        except CheckpointError as error:
            if not self._failed:
                logger.warning("%s. Training goes on; each step tries again", error)
            self._failed = True
