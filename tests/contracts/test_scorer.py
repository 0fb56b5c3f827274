"""Both engines keep the scorer's contract."""

from __future__ import annotations

from serving.model.scorer import OnnxScorer, OpenVinoScorer, Scorer
from tests.contracts.scorer import ScorerContract


class TestOpenVino(ScorerContract):
    def make(self, graph: bytes) -> Scorer:
        return OpenVinoScorer(graph)


class TestOnnxRuntime(ScorerContract):
    def make(self, graph: bytes) -> Scorer:
        return OnnxScorer(graph)
