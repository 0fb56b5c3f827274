"""A snapshot that is being written."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Saving:
    """Work in a thread of its own, whose error comes out of `wait`.

    >>> Saving(lambda: None).wait()
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

    @property
    def done(self) -> bool:
        """Whether it has ended, well or not."""
        return not self._thread.is_alive()

    def wait(self) -> None:
        """Return when the snapshot is on disk; raises what kept it from getting there."""
        self._thread.join()
        if self._error is not None:
            raise self._error
