"""What a recommender keeps open between calls: the embedded Redis, and what ranks."""

from __future__ import annotations

import os
import weakref
from contextlib import ExitStack
from typing import TYPE_CHECKING

from recsys import wiring
from recsys.config.schema import Config
from recsys.errors import StateError

if TYPE_CHECKING:
    from serving.local_ranking import LocalRanking


class OpenParts:
    """Opened when they are first asked for, closed at the end of the process, if not before.

    They belong to the process that made them: a forked child has only copies.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._stack = ExitStack()
        self._pid = os.getpid()
        self._close = weakref.finalize(self, _release, self._stack, self._pid)
        self._redis_runs = False
        self._ranking: ExitStack | None = None
        self._answers: LocalRanking | None = None

    def check(self) -> None:
        """Raises StateError if they are closed, or another process's."""
        if os.getpid() != self._pid:  # its locks, connections and threads stayed there
            raise StateError(
                f"this recommender belongs to process {self._pid}, of which this one is a fork: make the Recommender "
                "in the process that uses it, or ask `recsys serve` from several"
            )
        if not self._close.alive:
            raise StateError("this recommender is closed; make another")

    def ranking(self) -> LocalRanking:
        """What ranks. Raises StateError if it has no model."""
        self.check()
        if self._answers is None:
            self.redis()
            self._ranking = self._stack.enter_context(ExitStack())
            self._answers = wiring.local_ranking(self._config)
            self._ranking.callback(self._answers.close)
        if missing := self._answers.missing:
            reasons = ", ".join(f"{model} ({reason})" for model, reason in missing.items())
            raise StateError(f"no model to rank with: {reasons}; call fit() first, unless a trainer runs")
        return self._answers

    def stop_ranking(self) -> None:
        if self._ranking is not None:
            self._ranking.close()
        self._ranking = self._answers = None

    def redis(self) -> None:
        """Have the configured Redis run."""
        if not self._redis_runs:
            self._stack.enter_context(wiring.running_redis(self._config))
            self._redis_runs = True

    def close(self) -> None:
        """Close all. Nothing happens in a forked child."""
        if os.getpid() == self._pid:
            self.stop_ranking()
            self._close()


def _release(resources: ExitStack, pid: int) -> None:
    """Close what process `pid` made; a forked child has only copies."""
    if os.getpid() == pid:
        resources.close()
