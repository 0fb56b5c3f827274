from embedding.local.store import LocalStore
from embedding.reference.store import ReferenceStore
from embedding.store import EmbeddingStore, Table
from tests.contracts.embedding_store import EmbeddingStoreContract


class TestReferenceStore(EmbeddingStoreContract):
    def make(self, *tables: Table, seed: int = 0) -> EmbeddingStore:
        return ReferenceStore(tables, seed)


class TestLocalStore(EmbeddingStoreContract):
    def make(self, *tables: Table, seed: int = 0) -> EmbeddingStore:
        return LocalStore(tables, seed)
