"""Why a model ranked as it did, from its attention.

Shape suffixes: C explained candidates, L layers, H heads, M fields.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

from recsys.errors import ArtefactError
from serving.cache.row_store import Floats
from serving.model.artefact import RANKER, Artefact
from serving.model.autoint.attention import Attention, mean_by_pair
from serving.model.graph_reader import read_graph
from streaming.encode.feature_spec import FeatureSpec

EXPLAINED = 10
"""Items of a ranking that are explained, its first ones."""
PAIRS = 10
"""Of fields, by item."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Attention of the first shown items; the last axis, which sums to 1, is the field that is attended to."""

    fields: tuple[str, ...]
    """Names in the order of both axes M."""
    attention_CLHMM: Floats

    def pairs(self, candidate: int) -> list[tuple[str, str, float]]:
        """The `PAIRS` pairs of fields that attend most to each other, with their mean attention, largest first."""
        mean_MM = mean_by_pair(self.attention_CLHMM[candidate]).tolist()
        places = combinations(range(len(self.fields)), 2)
        best = sorted(((mean_MM[a][b], a, b) for a, b in places), key=lambda pair: (-pair[0], *pair[1:]))[:PAIRS]
        return [(self.fields[a], self.fields[b], weight) for weight, a, b in best]


class Explainer:
    """Reads the weights of a model's graph when it is first asked to."""

    def __init__(self, artefact: Artefact) -> None:
        self._artefact = artefact

    def check(self) -> None:
        """ArtefactError says why this model does not explain."""
        _ = self._attention

    @cached_property
    def _attention(self) -> Attention:
        try:
            return Attention(read_graph(self._artefact.graphs[RANKER]))
        except ArtefactError as error:
            raise ArtefactError(f"only an autoint that pools no histories explains its rankings: {error}") from error
        except ImportError as error:
            raise ArtefactError(f"weights of a graph are read by OpenVINO, which is not installed: {error}") from error

    def explain(self, request_1FD: Floats, items_CFD: Floats, request_1N: Floats, items_CN: Floats) -> Explanation:
        """From the rows and scaled numbers that were scored. ArtefactError as `check`."""
        attention_CLHMM = self._attention.of(request_1FD, items_CFD, request_1N, items_CN)
        return Explanation(_names(self._artefact.spec), attention_CLHMM)


def _names(spec: FeatureSpec) -> tuple[str, ...]:
    """Fields in the model's order."""
    return tuple(
        field.name
        for fields in (spec.sparse, spec.numeric)
        for field in sorted(fields, key=lambda field: field.of_item)
    )
