"""Scores what was shown with models that did not rank it, after the answer, and logs the scores: the shadow."""

from __future__ import annotations

import logging
import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import replace

from serving.event_writer import EventWriter
from serving.experiments.assignment import Arm
from serving.model.loaded_model import Models
from serving.ranking.query import Query
from serving.ranking.ranker import Ranker
from serving.ranking.trace import Trace
from streaming.events.schema import Impression, ShadowScores

_logger = logging.getLogger(__name__)
_PAUSE = 0.005


class Shadow:
    """Scores with the models `names`, in a thread of its own, while `idle` says that no request waits.

    At most `most_waiting` lists wait, and others are dropped. A model that `is_behind` with its training is left out
    until it has read the log. A list that has waited for more than `patience` seconds is dropped, too: by then a click
    on it may have been learned, and its scores would know it. Nothing that happens here reaches an answer. `ranker` is
    this thread's own: it orders as the model scores, without a deadline.
    """

    def __init__(
        self,
        names: Sequence[str],
        models: Models,
        ranker: Ranker,
        events: EventWriter,
        idle: Callable[[], bool],
        is_behind: Callable[[str], bool],
        clock: Callable[[], float],
        patience: float,
        most_waiting: int = 256,
    ) -> None:
        self.counts: Counter[str] = Counter(dict.fromkeys(("scored", "busy", "failed", "behind", "own"), 0))
        """So far, of lists and models: scored and given to the log; dropped, because too many waited or it for too
        long; that could not be scored as in an answer; left out because the model has not read the log; and that the
        model itself has ranked."""
        self._names = names
        self._models = models
        self._ranker = ranker
        self._events = events
        self._idle = idle
        self._is_behind = is_behind
        self._clock = clock
        self._most = most_waiting
        self._patience = patience
        self._waiting: deque[tuple[float, Query, Impression]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="shadow", daemon=True)
        if names:
            self._thread.start()

    async def offer(self, query: Query, shown: Impression) -> None:
        """Score an answer that has been given, when there is time."""
        if not self._names:
            return
        with self._changed:
            if self._closed or len(self._waiting) >= self._most:
                self.counts["busy"] += 1
                return
            self._waiting.append((self._clock(), query, shown))
            self._changed.notify()

    def close(self) -> None:
        """Stop; lists that wait are dropped. Call this before closing the writer of events."""
        with self._changed:
            self._closed = True
            self.counts["busy"] += len(self._waiting)
            self._waiting.clear()
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while (waited := self._next()) is not None:
            since, query, shown = waited
            if self._clock() - since > self._patience:
                self.counts["busy"] += 1
                continue
            for name in self._names:
                try:
                    self.counts[self._score(name, query, shown)] += 1
                except Exception as error:  # a faulty challenger must harm nobody
                    self.counts["failed"] += 1
                    _logger.warning("model %r cannot score in the shadow: %s", name, error)

    def _next(self) -> tuple[float, Query, Impression] | None:
        """Wait for a list and for an idle moment; None after `close`."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            while not self._closed and not self._idle():
                self._changed.wait(_PAUSE)
            return self._waiting.popleft() if self._waiting else None

    def _score(self, name: str, query: Query, shown: Impression) -> str:
        """Score a list with a model, and log it; what came of it, as in `counts`."""
        model = self._models.get(name)
        if model is not None and shown.model.partition("@")[0] == model.name:
            return "own"  # the answer has its scores
        if self._is_behind(name):
            return "behind"
        trace = Trace(self._clock(), self._clock)
        arm = Arm(query.arm.name, name, score=query.arm.score)
        place = {item: number for number, item in enumerate(query.items)}
        asked = replace(query, arm=arm, count=len(shown.items), explain=False).only(
            [place[item] for item in shown.items]
        )
        ranked = self._ranker.rank(asked, trace).shown
        if trace.degraded:
            return "failed"
        by_item = dict(zip(ranked.items, ranked.scores, strict=True))
        scores = [by_item[item] for item in shown.items]
        id_ = f"{shown.id} {ranked.model}"
        self._events.append(ShadowScores(shown.time, shown.id, shown.user, ranked.model, scores, id_))
        return "scored"
