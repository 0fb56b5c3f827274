"""Ranks candidates. There is always a ranking; if the model could not produce it, the trace lists the reasons.

Shape suffixes: C candidates, K shown positions, T tasks.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from serving.cache.entity_cache import EntityFeatures
from serving.experiments.assignment import POPULARITY
from serving.model.explanation import Explanation
from serving.model.loaded_model import LoadedModel, Models
from serving.ranking.boost import Boosts
from serving.ranking.diversity import Diversity
from serving.ranking.exploration import Exploration, Floats, Positions
from serving.ranking.group_scores import GroupScores
from serving.ranking.popularity import PopularityScores
from serving.ranking.preranker import Preranker, Selection
from serving.ranking.query import ItemFeatures, Query, columns_of
from serving.ranking.request_features import counted_features, request_features
from serving.ranking.task_score import TaskScore
from serving.ranking.thompson import Posterior
from serving.ranking.trace import Trace
from streaming.events.schema import Features, Impression, Value

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LoggedRanking:
    """A ranked list as it will be logged, and the model's probabilities of the shown items by task."""

    shown: Impression
    probabilities: Mapping[str, list[float]] = field(default_factory=dict)
    """Empty for a ranking by popularity."""
    explanation: Explanation | None = None
    """If the query asked for it, of a ranking by a model."""
    boosted: Sequence[float] = ()
    """What the shown items were ranked by in the place of their scores, if there are boosts."""


class Ranker:
    """Ranks with the arm's model, or by popularity if the model cannot score.

    A model's score of an item is `score` of its probabilities: that of the user's group, or of the user's arm. `boosts`
    raise or lower it. `exploration` orders the items by that, or by draws of its `posterior`, and `diversity`, if any,
    varies those that are shown. With a `preranker` the model scores what that leaves.

    Reasons in `degraded`: `no_model` (nothing published yet), `rows` (Redis unavailable, ids that are not cached read
    as unknown), `features` (Redis unavailable, latest ones may be missing; or one is of the wrong kind), `scorer` (the
    graph failed), `deadline` (too little of `deadline` seconds was left to score), `tasks` (the model lacks some of the
    tasks in the score, which then count nothing). `seed` makes exploration
    reproducible. Not thread-safe.
    """

    def __init__(
        self,
        models: Models,
        entities: EntityFeatures,
        popularity: PopularityScores,
        exploration: Exploration,
        deadline: float,
        score: TaskScore | GroupScores,
        boosts: Boosts,
        seed: int | None = None,
        diversity: Diversity | None = None,
        preranker: Preranker | None = None,
        posterior: Posterior | None = None,
    ) -> None:
        self._models = models
        self._entities = entities
        self._popularity = popularity
        self._exploration = exploration
        self._deadline = deadline
        self._scores = score if isinstance(score, GroupScores) else GroupScores(score)
        self._boosts = boosts
        self._diversity = diversity
        self._preranker = preranker
        self._posterior = posterior
        self._rng = np.random.default_rng(seed)
        self._scoring = 0.0

    def rank(self, query: Query, trace: Trace) -> LoggedRanking:
        """Shown items with scores, propensities and the features used.

        Raises ArtefactError if the query asks for an explanation and the model gives none.
        """
        model = None if query.arm.model == POPULARITY else self._models.get(query.arm.model)
        if model is None:
            if query.arm.model != POPULARITY:
                trace.degraded.append("no_model")
            return self._by_popularity(query)
        if query.explain:
            model.explainer.check()
        try:
            return self._by_model(query, model, trace)
        except _CannotScoreError as reason:
            trace.degraded.append(str(reason))
        except Exception as error:  # a faulty graph, row or feature must not cost the user the answer
            _logger.exception("model %r cannot score: %s", model.name, error)
            trace.degraded.append("scorer")
        return self._by_popularity(query)

    def _by_model(self, query: Query, model: LoadedModel, trace: Trace) -> LoggedRanking:
        tasks = model.artefact.tasks
        query, fresh = self._scores.told(query, self._entities)
        if not fresh:
            trace.degraded.append("features")
        score = TaskScore(query.arm.score) if query.arm.score else self._scores.of(query.features)
        if score.tasks.isdisjoint(tasks):
            raise _CannotScoreError("tasks")
        if not score.tasks.issubset(tasks):
            trace.degraded.append("tasks")
        self._in_time(trace)
        selection = self._selected(query, model, trace)
        query = query if selection is None else selection.query
        with trace.stage("encode"):
            features, item_features = self._features(query, model, trace)
            try:
                encoded = model.encode(query.user, query.time, features, query.items, item_features)
            except ValueError as error:
                _logger.warning("user %r: %s", query.user, error)
                raise _CannotScoreError("features") from error
        with trace.stage("rows"):
            embedded = model.embed(encoded)
        if not embedded.complete:
            trace.degraded.append("rows")
        self._in_time(trace)
        with trace.stage("score"):
            probabilities_CT = np.asarray(model.score(encoded, embedded), np.float64)
            scores_C = score.of(probabilities_CT, tasks)
        self._scoring += 0.1 * (trace.seconds["score"] - self._scoring)
        with trace.stage("order"):
            boosted_C = self._boosts.applied(query, scores_C)
            ordered_by = self._sampled(score.share(boosted_C, tasks), item_features)
            order_K, propensities_K = self._ordered(query, ordered_by, trace)
            trace.preranking = None if selection is None else selection.outcome(scores_C)
            if self._preranker is not None:
                self._preranker.learn(query, model, score.share(scores_C, tasks), trace.preranking)
            shown = columns_of(item_features, order_K.tolist())
            logged = _impression(query, scores_C, order_K, propensities_K, features, shown, _label(model))
            by_task = dict(zip(tasks, probabilities_CT[order_K].T.tolist(), strict=True))
            ranking = LoggedRanking(logged, by_task, boosted=_shown(boosted_C, scores_C, order_K))
        if not query.explain:
            return ranking
        with trace.stage("explain"):
            return replace(ranking, explanation=model.explain(encoded, embedded, order_K.tolist()))

    def _selected(self, query: Query, model: LoadedModel, trace: Trace) -> Selection | None:
        if self._preranker is None:
            return None
        with trace.stage("prerank"):
            return self._preranker.select(query, model, self._rng)

    def _sampled(self, shares_C: Floats, item_features: ItemFeatures) -> Floats:
        """Draws of the scores, if there is a posterior of them; else these."""
        if self._posterior is None:
            return shares_C
        unknown = [None] * len(shares_C)
        return self._posterior.draw(shares_C, item_features.get(self._posterior.evidence, unknown), self._rng)

    def _ordered(self, query: Query, shares_C: Floats, trace: Trace) -> tuple[Positions, Floats]:
        """What is shown, and its propensities: by the arm's `diversity` if it has one, else as configured."""
        if self._diversity is None:
            return self._exploration.order(shares_C, query.count, self._rng)
        diversity, values_C = (
            self._diversity.weighing(query.arm.diversity),
            self._values(query, self._diversity.feature),
        )
        found = diversity.order(self._exploration, shares_C, values_C, query.count, self._rng)
        trace.variety = diversity.score([values_C[place] for place in found[0].tolist()])
        return found

    def _values(self, query: Query, feature: str) -> list[Value]:
        """Of each candidate: the request's where given, else the latest known."""
        if feature in query.item_features:
            return query.item_features[feature]
        return [features.get(feature) for features in self._entities.items(query.items)[0]]

    def _in_time(self, trace: Trace) -> None:
        if trace.elapsed() + self._scoring > self._deadline:
            self._scoring *= 0.9  # else one slow request would exclude the model for good
            raise _CannotScoreError("deadline")

    def _by_popularity(self, query: Query) -> LoggedRanking:
        popularity_C = np.array(self._popularity.of(query.items))
        boosted_C = self._boosts.applied(query, popularity_C)
        order_K = np.argsort(-boosted_C, kind="stable")[: query.count]
        certain_K = np.ones(len(order_K))
        shown = columns_of(query.item_features, order_K.tolist())
        logged = _impression(query, popularity_C, order_K, certain_K, query.features, shown, POPULARITY)
        return LoggedRanking(logged, boosted=_shown(boosted_C, popularity_C, order_K))

    def _features(self, query: Query, model: LoadedModel, trace: Trace) -> tuple[Features, ItemFeatures]:
        """The features that the model reads: the request's where given, else the latest ones."""
        counted, of_items, counted_fresh = counted_features(model, query.user, query.items, query.time)
        features, fresh = request_features(model, self._entities, query.user, counted | query.features)
        items, items_fresh = self._item_features(query, model, of_items | query.item_features)
        if not (fresh and items_fresh and counted_fresh) and "features" not in trace.degraded:
            trace.degraded.append("features")
        return features, items

    def _item_features(self, query: Query, model: LoadedModel, given: ItemFeatures) -> tuple[ItemFeatures, bool]:
        names = sorted(model.item_features)
        if model.item_features <= given.keys():
            return {name: given[name] for name in names}, True
        latest, fresh = self._entities.items(query.items)
        return {name: given[name] if name in given else [f.get(name) for f in latest] for name in names}, fresh


class _CannotScoreError(Exception):
    """The model cannot score this request; the message is the reason in `degraded`."""


def _shown(boosted_C: Floats, scores_C: Floats, order_K: Positions) -> list[float]:
    """Boosted scores of the shown items; empty if no boost was there."""
    return [] if boosted_C is scores_C else boosted_C[order_K].tolist()


def _label(model: LoadedModel) -> str:
    return f"{model.name}@{model.artefact.version}"


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
