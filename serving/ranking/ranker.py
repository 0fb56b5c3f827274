"""Puts candidates in order. There is always an answer; when it is not the model's, it says why.

Shape suffixes: C candidates, K shown positions.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from serving.cache.entity_cache import EntityFeatures
from serving.experiments.assignment import POPULARITY, Arm
from serving.model.loaded_model import ServedModel
from serving.ranking.exploration import Exploration, Floats, Positions
from serving.ranking.retriever import Retriever
from streaming.events.schema import Features, Impression, Value

ItemFeatures = dict[str, list[Value]]

_logger = logging.getLogger(__name__)


class Models(Protocol):
    """Where the ranker finds models."""

    def get(self, name: str) -> ServedModel | None: ...


@dataclass(slots=True)
class Trace:
    """What happened to one request: `started` (seconds of the clock), seconds by stage, reasons to be degraded."""

    started: float
    clock: Callable[[], float]
    seconds: dict[str, float] = field(default_factory=dict)
    degraded: list[str] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure a stage."""
        began = self.clock()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + self.clock() - began

    def elapsed(self) -> float:
        return self.clock() - self.started


@dataclass(frozen=True, slots=True)
class Query:
    """Who asks for the order of what. `item_features` has one value per item, by name; `time` is event time in ms."""

    user: str
    items: Sequence[str]
    time: int
    features: Features
    item_features: ItemFeatures
    count: int
    experiment: str
    arm: Arm
    impression: str


class Ranker:
    """Scores with the arm's model, or by popularity when that cannot be had.

    Reasons in `degraded`: `no_model` (nothing published yet), `rows` (Redis gone, ids that were not cached read as
    unknown), `features` (Redis gone, latest ones may be missing; or one is of the wrong kind), `scorer` (the graph
    failed), `deadline` (too little of `deadline` seconds was left to score). `seed` makes exploration repeatable.
    Not for many threads at once.
    """

    def __init__(
        self,
        models: Models,
        entities: EntityFeatures,
        retriever: Retriever,
        exploration: Exploration,
        deadline: float,
        seed: int | None = None,
    ) -> None:
        self._models = models
        self._entities = entities
        self._retriever = retriever
        self._exploration = exploration
        self._deadline = deadline
        self._rng = np.random.default_rng(seed)
        self._scoring = 0.0

    def rank(self, query: Query, trace: Trace) -> Impression:
        """The list to show, as it will be logged: shown items with scores, propensities and the features as used."""
        model = None if query.arm.model == POPULARITY else self._models.get(query.arm.model)
        if model is None:
            if query.arm.model != POPULARITY:
                trace.degraded.append("no_model")
            return self._by_popularity(query)
        try:
            return self._by_model(query, model, trace)
        except _GiveUpError as reason:
            trace.degraded.append(str(reason))
        except Exception as error:  # a wrong graph, row or feature must not cost the user the answer
            _logger.exception("model %r cannot score: %s", model.name, error)
            trace.degraded.append("scorer")
        return self._by_popularity(query)

    def _by_model(self, query: Query, model: ServedModel, trace: Trace) -> Impression:
        self._in_time(trace)
        with trace.stage("encode"):
            features, item_features = self._features(query, model, trace)
            try:
                encoded = model.encode(query.user, query.time, features, query.items, item_features)
            except ValueError as error:
                _logger.warning("user %r: %s", query.user, error)
                raise _GiveUpError("features") from error
        with trace.stage("rows"):
            embedded = model.embed(encoded)
        if not embedded.complete:
            trace.degraded.append("rows")
        self._in_time(trace)
        with trace.stage("score"):
            scores_C = np.asarray(model.score(encoded, embedded), np.float64)
        self._scoring += 0.1 * (trace.seconds["score"] - self._scoring)
        with trace.stage("order"):
            order_K, propensities_K = self._exploration.order(scores_C, query.count, self._rng)
            shown = _picked(item_features, order_K)
            return _impression(query, scores_C, order_K, propensities_K, features, shown, _label(model))

    def _in_time(self, trace: Trace) -> None:
        if trace.elapsed() + self._scoring > self._deadline:
            self._scoring *= 0.9  # else one slow moment would refuse for ever
            raise _GiveUpError("deadline")

    def _by_popularity(self, query: Query) -> Impression:
        popularity_C = np.array(self._retriever.popularity(query.items))
        order_K = np.argsort(-popularity_C, kind="stable")[: query.count]
        certain_K = np.ones(len(order_K))
        shown = _picked(query.item_features, order_K)
        return _impression(query, popularity_C, order_K, certain_K, query.features, shown, POPULARITY)

    def _features(self, query: Query, model: ServedModel, trace: Trace) -> tuple[Features, ItemFeatures]:
        """The request's features over the latest ones, as far as the model reads them."""
        features, fresh = query.features, True
        if model.user_features - features.keys():
            latest, fresh = self._entities.user(query.user)
            features = {name: latest[name] for name in model.user_features & latest.keys()} | features
        items, items_fresh = self._item_features(query, model)
        if not (fresh and items_fresh):
            trace.degraded.append("features")
        return features, items

    def _item_features(self, query: Query, model: ServedModel) -> tuple[ItemFeatures, bool]:
        given, names = query.item_features, sorted(model.item_features)
        if model.item_features <= given.keys():
            return {name: given[name] for name in names}, True
        latest, fresh = self._entities.items(query.items)
        return {name: given[name] if name in given else [f.get(name) for f in latest] for name in names}, fresh


class _GiveUpError(Exception):
    """The model cannot score this request; the message is the reason in `degraded`."""


def _label(model: ServedModel) -> str:
    return f"{model.name}@{model.artefact.version}"


def _picked(columns: ItemFeatures, order_K: Positions) -> ItemFeatures:
    order = order_K.tolist()
    return {name: [values[i] for i in order] for name, values in columns.items()}


def _impression(
    query: Query,
    scores_C: Floats,
    order_K: Positions,
    propensities_K: Floats,
    features: Features,
    item_features: ItemFeatures,
    model: str,
) -> Impression:
    return Impression(
        id=query.impression,
        time=query.time,
        user=query.user,
        items=[query.items[i] for i in order_K.tolist()],
        features=features,
        item_features=item_features,
        scores=scores_C[order_K].tolist(),
        propensities=propensities_K.tolist(),
        experiment=query.experiment,
        arm=query.arm.name,
        model=model,
    )
