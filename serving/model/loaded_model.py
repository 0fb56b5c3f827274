"""One version of one model, ready to score.

Shape suffixes: C candidates, T tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from recsys.errors import ArtefactError, InvalidValueError
from serving.cache.counted_features import CountedFeatures
from serving.cache.row_cache import RowCache
from serving.cache.row_store import Floats
from serving.model.artefact import Artefact
from serving.model.checked_scorer import CheckedScorer
from serving.model.chunked_scorer import Scorer
from serving.model.explanation import EXPLAINED, Explainer, Explanation
from serving.model.graph_inputs import PooledRows, SparseField, embed
from serving.model.measured_precision import MeasuredPrecision
from serving.model.user_tower import TwoTowerModel
from streaming.encode.batch import Jagged
from streaming.encode.encoder import Encoder
from streaming.events.schema import Features, Value

OpenScorer = Callable[[bytes], Scorer]
"""From ONNX bytes to a scorer. Raises ArtefactError when the graph cannot be run."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """A request and its candidates, encoded as ids and numbers."""

    request: dict[str, Jagged]
    request_numeric_1N: Floats
    items: dict[str, Jagged]
    items_numeric_CN: Floats
    candidates: int


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """An artefact with its scorer and its row cache. Immutable except for the cache, so versions are swapped whole."""

    name: str
    artefact: Artefact
    scorer: Scorer
    rows: RowCache
    loaded: float
    """When it was loaded, in seconds of the server's clock."""
    encoder: Encoder
    two_tower: TwoTowerModel | None = None
    """For retrieval, if the artefact has a user tower."""
    counted: CountedFeatures | None = None
    """Where the features are read that the stream computes; None if there is nowhere."""
    user_features: frozenset[str] = field(init=False)
    """Names of the request features that the model reads."""
    item_features: frozenset[str] = field(init=False)
    explainer: Explainer = field(init=False)
    _dim: int = field(init=False)
    _request: tuple[SparseField, ...] = field(init=False)
    _items: tuple[SparseField, ...] = field(init=False)

    def __post_init__(self) -> None:
        spec = self.artefact.spec
        put = object.__setattr__
        put(self, "explainer", Explainer(self.artefact))
        put(self, "_dim", self.artefact.row_dim)
        put(self, "user_features", frozenset(f.feature for f in spec.fields if f.feature and not f.of_item))
        put(self, "item_features", frozenset(f.feature for f in spec.fields if f.feature and f.of_item))
        lengths = {history.name: history.length for history in spec.histories}
        fields = (SparseField(f.name, f.table, lengths.get(f.name, 0)) for f in spec.sparse if not f.of_item)
        put(self, "_request", tuple(fields))
        put(self, "_items", tuple(SparseField(f.name, f.table) for f in spec.sparse if f.of_item))

    @property
    def engine(self) -> str:
        """What computes its scores."""
        return self.scorer.engine

    @property
    def precision(self) -> MeasuredPrecision | None:
        """What it scores in, where that was to be less than float32."""
        return self.scorer.precision if isinstance(self.scorer, CheckedScorer) else None

    def encode(
        self, user: str, time: int, features: Features, items: Sequence[str], columns: Mapping[str, Sequence[Value]]
    ) -> Encoded:
        """Hash, transform and scale with the code that training uses. `columns` are the items' features, by name."""
        request, request_numeric_1N = self.encoder.encode_request(user, time, features)
        ids, items_numeric_CN = self.encoder.encode_columns(items, columns)
        scale, of_request = self.artefact.scaling.apply, request_numeric_1N.shape[1]
        return Encoded(request, scale(request_numeric_1N), ids, scale(items_numeric_CN, of_request), len(items))

    def user_vector(self, user: str, time: int, features: Features) -> Floats:
        """The vector [E] of a request. Raises InvalidValueError as `encode` does, or if it is not finite."""
        assert self.two_tower is not None
        ids, numeric_1N = self.encoder.encode_request(user, time, features)
        return self.two_tower.tower.vector(self.rows, ids, self.artefact.scaling.apply(numeric_1N))

    def embed(self, encoded: Encoded) -> PooledRows:
        """Rows of everything that was encoded."""
        request, items = (self._request, encoded.request), (self._items, encoded.items)
        return embed(self.rows, request, items, encoded.candidates, self._dim)

    def score(self, encoded: Encoded, embedded: PooledRows) -> Floats:
        """Probability of a positive label of each candidate for each task of the artefact, [C, T].

        Raises InvalidValueError when a score is not finite, because a row or a weight has diverged, and whatever the
        scorer raises.
        """
        scores_CT = self.scorer.score(
            embedded.request_1FD,
            embedded.items_CFD,
            encoded.request_numeric_1N,
            encoded.items_numeric_CN,
            embedded.history_1LD,
        )
        if not np.isfinite(scores_CT).all():
            bad = np.count_nonzero(~np.isfinite(scores_CT))
            raise InvalidValueError(
                f"{bad} of {scores_CT.size} scores are not finite: a row or a weight has diverged, lower the "
                "learning rates"
            )
        return scores_CT

    def explain(self, encoded: Encoded, embedded: PooledRows, places: Sequence[int]) -> Explanation:
        """Of the first `EXPLAINED` of the candidates at these places. ArtefactError if this model does not explain."""
        first = list(places[:EXPLAINED])
        items_CFD, numeric_CN = embedded.items_CFD[first], encoded.items_numeric_CN[first]
        return self.explainer.explain(embedded.request_1FD, items_CFD, encoded.request_numeric_1N, numeric_CN)

    def smoke_test(self) -> None:
        """Score a synthetic request: a faulty graph is refused, and everything is compiled before the first request.

        Raises ArtefactError when the scores are not one finite number per item and task, and whatever `score` raises.
        """
        if self.two_tower is not None:
            self.user_vector("", 0, {})
        encoded = self.encode("", 0, {}, ["", "\x00"], {name: [None, None] for name in self.item_features})
        scores_CT = self.score(encoded, self.embed(encoded))
        if scores_CT.shape != (2, len(self.artefact.tasks)):
            tasks = ", ".join(self.artefact.tasks)
            raise ArtefactError(f"the graph gives {scores_CT!r}, two items need scores for the tasks {tasks}")


class Models(Protocol):
    """The models that the arms of all experiments name."""

    def get(self, name: str) -> LoadedModel | None:
        """The model's current version; None before the first one is loaded, and for an unknown name."""
        ...

    @property
    def loaded(self) -> Mapping[str, LoadedModel]:
        """Current versions by name."""
        ...

    @property
    def missing(self) -> Mapping[str, str]:
        """Models that cannot be served yet, and why."""
        ...

    @property
    def refused(self) -> int:
        """Number of models whose newest artefact was refused."""
        ...
