"""One version of one model, ready to score.

Shape suffixes: C candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from serving.cache.row_cache import RowCache
from serving.cache.row_store import Floats
from serving.model.artefact import Artefact
from serving.model.pooling import Column, Embedded, embed
from serving.model.scorer import Scorer
from streaming.encode.batch import Jagged
from streaming.encode.encoder import Encoder
from streaming.events.schema import Features, Value

OpenScorer = Callable[[bytes], Scorer]
"""From ONNX bytes to a scorer. Raises ValueError when the graph cannot be run."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """A request and its candidates as ids and numbers."""

    request: dict[str, Jagged]
    request_numeric_1N: Floats
    items: dict[str, Jagged]
    items_numeric_CN: Floats
    candidates: int


@dataclass(frozen=True, slots=True)
class ServedModel:
    """An artefact with its scorer and the cache of its rows. Immutable but for the cache, so it is swapped whole."""

    name: str
    artefact: Artefact
    scorer: Scorer
    rows: RowCache
    loaded: float
    """When it was loaded, in seconds of the server's clock."""
    encoder: Encoder
    user_features: frozenset[str] = field(init=False)
    """Names of the request's features that the model reads."""
    item_features: frozenset[str] = field(init=False)
    _request: tuple[Column, ...] = field(init=False)
    _items: tuple[Column, ...] = field(init=False)

    def __post_init__(self) -> None:
        spec = self.artefact.spec
        put = object.__setattr__
        put(self, "user_features", _names(self.artefact, "request."))
        put(self, "item_features", _names(self.artefact, "item."))
        put(self, "_request", tuple(Column(f.name, f.table) for f in spec.sparse if not f.of_item))
        put(self, "_items", tuple(Column(f.name, f.table) for f in spec.sparse if f.of_item))

    def encode(
        self, user: str, time: int, features: Features, items: Sequence[str], columns: Mapping[str, Sequence[Value]]
    ) -> Encoded:
        """Hash and transform, with the code that training uses. `columns` are the items' features, by name."""
        request, request_numeric_1N = self.encoder.encode_request(user, time, features)
        ids, items_numeric_CN = self.encoder.encode_columns(items, columns)
        return Encoded(request, request_numeric_1N, ids, items_numeric_CN, len(items))

    def embed(self, encoded: Encoded) -> Embedded:
        """Rows of everything that was encoded."""
        return embed(self.rows, (self._request, encoded.request), (self._items, encoded.items), encoded.candidates)

    def score(self, encoded: Encoded, embedded: Embedded) -> Floats:
        """Probability of a positive label, of each candidate.

        Raises ValueError when one is not a finite number, because a row or a weight has diverged; whatever the scorer
        raises, too.
        """
        scores_C = self.scorer.score(
            embedded.request_1FD, embedded.items_CFD, encoded.request_numeric_1N, encoded.items_numeric_CN
        )
        if not np.isfinite(scores_C).all():
            raise ValueError(
                f"{np.count_nonzero(~np.isfinite(scores_C))} of {len(scores_C)} scores are no finite numbers: a row or "
                f"a weight has diverged, lower the learning rates"
            )
        return scores_C

    def try_out(self) -> None:
        """Score a made-up request, so that a graph that cannot is refused, and the first real one finds all compiled.

        Raises ValueError when the scores are not one finite number an item, and whatever `score` raises.
        """
        encoded = self.encode("", 0, {}, ["", "\x00"], {name: [None, None] for name in self.item_features})
        scores_C = self.score(encoded, self.embed(encoded))
        if scores_C.shape != (2,):
            raise ValueError(f"the graph gives {scores_C!r} for two items, where two scores are needed")


def _names(artefact: Artefact, prefix: str) -> frozenset[str]:
    return frozenset(f.source[len(prefix) :] for f in artefact.spec.fields if f.source.startswith(prefix))
