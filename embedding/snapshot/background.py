"""A snapshot that is written in the background."""

from __future__ import annotations

import threading
from collections.abc import Callable


class BackgroundSave:
    """Work in a separate thread. Poll `done()` between steps, and call `result()` once to get its error.

    >>> saving = BackgroundSave(lambda: None)
    >>> saving.result(), saving.done()
    (None, True)
    """

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="snapshot")
        self._thread.start()

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self._error = error

    def done(self) -> bool:
        """Whether the work has ended, with or without an error."""
        return not self._thread.is_alive()

    def result(self) -> None:
        """Wait until the snapshot is on disk. Raises the error that prevented it."""
        self._thread.join()
        if self._error is not None:
            raise self._error
