"""The TorchRec store keeps the contract of all stores (one process)."""

from __future__ import annotations

from embedding.store import EmbeddingStore, Optimizer, Table
from embedding.torchrec.store import TorchRecStore
from tests.contracts.embedding_store import EmbeddingStoreContract


class TestTorchRecStore(EmbeddingStoreContract):
    more_optimizers = (Optimizer("adagrad"), Optimizer("adagrad", lr=0.1))  # what FBGEMM has on CPU

    def make(self, *tables: Table, seed: int = 0) -> EmbeddingStore:
        return TorchRecStore(tables, seed)
