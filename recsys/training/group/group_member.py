"""What the other processes of a group do: whatever the leading one does, at the same moment."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from embedding.store import Lookup
from recsys.errors import RecsysError
from recsys.training.group.calls import Call
from recsys.training.group.channel import Channel
from recsys.training.group.deltas import joined_delta
from recsys.training.group.worker_figures import WorkerFigures
from recsys.training.learner import Learner

_NOTHING = np.zeros(0, np.uint64)
logger = logging.getLogger(__name__)


class GroupMember:
    """Takes part in the calls of the leading process, with its own share of a batch and no ids of its own otherwise.

    `learner` is made as the leading one, with `GroupPeers`.
    """

    def __init__(self, learner: Learner, channel: Channel, figures: WorkerFigures) -> None:
        self._channel, self._figures = channel, figures
        self.learner, self._store = learner, learner.store
        self._found: dict[str, Lookup] = {}
        """The last look-up of each table, for its update."""
        store = learner.store
        self._calls: dict[str, Callable[..., Any]] = {
            "load_weights": lambda folder: learner.load_weights(Path(folder)),
            "lookup": self._lookup,
            "peek": lambda table: store.peek(table, _NOTHING),
            "update": self._update,
            "expire": store.expire,
            "forget": lambda table, *ids: store.forget(table, np.array(ids, np.uint64)),
            "subscribe": store.subscribe,
            "delta": lambda consumer: joined_delta(store, consumer, channel.ranks),
            "acknowledge": store.acknowledge,
            "save": store.save,
            "load": store.load,
            "digest": store.digest,
            "counters": store.counters,
            "figures": figures.of_all,
        }

    def run(self) -> None:
        """Follow until the leading process dismisses this one. Raises WorkerError when it has gone."""
        while (call := self._next()).name != "end":
            try:
                self._make(call)
            except (RecsysError, OSError) as error:  # it is the leading process that deals with it
                logger.info("%s: %s", call.name, error)

    def _next(self) -> Call:
        with self._figures.waiting():
            return self._channel.receive()

    def _make(self, call: Call) -> None:
        if call.batch is None:
            self._calls[call.name](*call.words)
        elif call.name == "step":
            self._figures.learned(len(call.batch))
            self.learner.step(call.batch, scored=bool(call.words[0]))
        else:
            self.learner.score(call.batch)

    def _lookup(self, table: str, now: int) -> None:
        self._found[table] = self._store.lookup(table, _NOTHING, now)

    def _update(self, table: str) -> None:
        found = self._found.pop(table)
        self._store.update(found, np.zeros_like(found.values_ND))
