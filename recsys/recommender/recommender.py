"""The recommender as an object: ingest, learn, rank and replay, with the parts of the command line in one process."""

from __future__ import annotations

import tempfile
import threading
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from time import time_ns
from typing import TYPE_CHECKING, Any, Self

from recsys import wiring
from recsys.commands.output.embedding_tables import refused
from recsys.config.schema import Config
from recsys.errors import InvalidValueError
from recsys.recommender.asked import count_of, name_of, names_of, request
from recsys.recommender.configuration import configuration
from recsys.recommender.open_parts import OpenParts
from recsys.recommender.progress_line import progress_line
from recsys.recommender.results.fitted import Fitted
from recsys.recommender.results.ingested import Ingested
from recsys.recommender.results.ranking import Ranking
from recsys.recommender.results.replayed import Replayed
from recsys.recommender.sources.event_sources import sources
from recsys.recommender.times import Time, batch_end, millis, refreshes_of
from serving.api.messages.schemas import RankRequest, RecommendRequest

if TYPE_CHECKING:
    from recsys.config.sections.log import MappingSection
    from recsys.evaluation.replay.training_pass import ReplayProgress
    from serving.api.messages.schemas import ItemBoost
    from streaming.events.schema import Features, Value

    Boosts = Sequence[Mapping[str, object] | ItemBoost]
    """Of a request, as dicts or objects."""


class Recommender:
    """One recommender and its folder of log, checkpoints and Redis, which others can use as well: `recsys serve` and
    `train`, and recommenders of other processes. Any number may ingest and rank at a time; one trains.

    `config` is the path of a `recsys.toml`, its tables as a dict, or a `Config`; the relative paths of the latter two
    are taken from `folder`, by default the working directory. Close it, or use it as a context manager, to end the
    embedded Redis that it uses. In a terminal or notebook, ingest, fit and replay show how far they are, unless
    `progress` is false.

    Raises ConfigError for settings that are not valid. All errors are classes of `recsys.errors`. Not thread-safe.
    """

    def __init__(
        self,
        config: str | Path | Config | Mapping[str, Any],
        *,
        folder: str | Path | None = None,
        progress: bool = True,
    ) -> None:
        self.config = configuration(config, folder)
        self._progress = progress
        self._open = OpenParts(self.config)

    def ingest(
        self, data: Any, *, mapping: str | Mapping[str, Any] | MappingSection | None = None, sort: bool = False
    ) -> Ingested:
        """Append events to the log, each once.

        `data` is a frame (pandas, Polars, lazy ones too, Arrow), the path of a file, an event (a dict as in JSON lines,
        or an object of `streaming.events.schema`), or an iterable of these; several frames or files are merged by
        event time. `mapping` says how columns become events: the settings of a `[[log.mapping]]`, or the name of a file
        that one in the configuration is for. Without one the columns of a frame have the names of the fields of events.
        `sort` is for data that is not in the order of time, as `recsys ingest --sort`.

        What looks wrong in the events, such as times in 1970, is in `warnings` of the answer, and a Python warning.
        Raises InvalidValueError for data that cannot be read so, or if all of it was refused; IngestError when reading
        or writing fails.
        """
        self._open.check()
        log, unread = wiring.event_log(self.config), list[str]()
        try:
            with tempfile.TemporaryDirectory() as folder:
                found = sources(self.config, data, mapping, Path(folder), unread, sort=sort)
                ingest = wiring.ingest(self.config, log)
                with self._shown(lambda: f"{ingest.counts.read:,} events read"):
                    if sort:
                        ingest.sort(found, self.config.log.sort_memory)
                    else:
                        ingest.merge(found)
        finally:
            log.close()
        latest = time_ns() // 1_000_000 + self.config.log.max_future  # what is sent now may be a little ahead
        done = Ingested.of(ingest, self.config, latest, unread)
        if done.dead == done.read > 0:
            raise InvalidValueError(f"nothing was accepted: {done!r}")
        for doubt in done.warnings:
            warnings.warn(doubt, stacklevel=2)
        return done

    def fit(self, *, until: Time | None = None) -> Fitted:
        """Learn from the log, from the newest checkpoint on, and publish, as `recsys train --once` does.

        `until` stops before the first event at this time or later. Raises CheckpointError if another process trains in
        this folder, LeaseError if one that trains elsewhere publishes to this Redis; both name it.
        """
        self._open.check()
        if self.config.training.workers > 1:
            raise InvalidValueError("a Recommender trains in its own process: set workers to 1, or run `recsys train`")
        end = None if until is None else millis(until, "until")
        with wiring.training_lock(self.config):
            self._open.redis()
            self._open.stop_ranking()
            wiring.set_threads(self.config)
            with wiring.locked_trainer(self.config, publish=True) as trainer:
                resumed = trainer.resume()
                steps, refusals = trainer.learner.steps, refused(trainer.learner.store)
                learned = trainer.progress
                with self._shown(lambda: f"{learned.rows:,} rows learned, {learned.lag_events:,} events unread"):
                    trainer.run(follow=False, stop=threading.Event(), until=end)
                return Fitted.of(self.config, trainer, resumed, steps, refusals)

    def recommend(
        self,
        user: object,
        k: int = 20,
        *,
        features: Features | None = None,
        exclude: Iterable[object] = (),
        basket: Iterable[object] = (),
        where: Features | None = None,
        time: Time | None = None,
        boosts: Boosts | None = None,
    ) -> Ranking:
        """The best `k` items for a user, of the popular and recent ones, as `POST /v1/recommend` answers.

        `exclude` is not shown. `basket` has what the user has chosen so far, which is not shown either. `where` names
        features of items and the values that they must have, such as {"genre": "Drama"}; a list has a value that it
        contains, and an item of which no update says the feature is not shown. `features` are those of the request,
        `time` is event time, by default now. `boosts` raise or lower scores, beside those of the settings, such as
        {"feature": "item.genre", "value": "Drama", "times": 1.5}. Integers name the users and items whose ids
        they are as text. Raises StateError before the first `fit`, InvalidValueError for a value that the server would
        refuse.
        """
        named = {"exclude": names_of(exclude, "exclude"), "basket": names_of(basket, "basket")}
        count = count_of(k, required=True)
        asked = {"user": name_of(user), "count": count, "features": features, "where": where, "boosts": boosts, **named}
        return Ranking(self._open.ranking().recommend(request(RecommendRequest, asked, time)))

    def rank(
        self,
        user: object,
        items: Iterable[object],
        *,
        k: int | None = None,
        features: Features | None = None,
        item_features: Mapping[str, Sequence[Value]] | None = None,
        time: Time | None = None,
        boosts: Boosts | None = None,
    ) -> Ranking:
        """These items in the order of their scores for a user, the best `k` or all, as `POST /v1/rank` answers.

        `item_features` has one value per item, by name. Otherwise as `recommend`.
        """
        count = count_of(k, required=False)
        answering, names = self._open.ranking(), names_of(items, "items")
        if not names:
            return Ranking(None)
        given = {"features": features, "item_features": item_features, "boosts": boosts}
        asked = {"user": name_of(user), "items": names, "count": count, **given}
        return Ranking(answering.rank(request(RankRequest, asked, time)))

    def replay(
        self, batch_until: float | Time, *, refresh: str | Sequence[str] = "1h", until: Time | None = None
    ) -> Replayed:
        """Evaluate the configured model on the log, as `recsys replay` does: frozen against online.

        `batch_until` is where the online stage begins: a share of the shown items, or a time. `refresh` has intervals
        (`1h`) or numbers of time slices (`50 slices`). Nothing that `fit` has learned plays a part.
        """
        from recsys.evaluation.replay.arms import check_refresh
        from recsys.evaluation.replay.evaluation import evaluate
        from recsys.evaluation.replay.report.replay_report import reached

        self._open.check()
        refreshes = refreshes_of(refresh)
        for one in refreshes:
            check_refresh(one, "refresh")
        wiring.set_threads(self.config)
        log, stage = wiring.event_log(self.config), ["batch stage"]

        def report(progress: ReplayProgress) -> None:
            stage[0] = reached(progress)

        try:
            with self._shown(lambda: stage[0]):
                result = evaluate(
                    self.config,
                    log,
                    batch_until=batch_end(batch_until),
                    refreshes=refreshes,
                    until=None if until is None else millis(until, "until"),
                    report=report,
                )
        finally:
            log.close()
        return Replayed(result)

    def close(self) -> None:
        """Release what it uses, also the embedded Redis if nobody else uses it. Nothing happens in a forked child."""
        self._open.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Recommender({self.config.log.url!r}, model={self.config.model.name!r})"

    def _shown(self, state: Callable[[], str]) -> AbstractContextManager[None]:
        return progress_line(state, wanted=self._progress)
