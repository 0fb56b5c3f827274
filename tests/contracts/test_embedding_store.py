from pathlib import Path

import numpy as np
import pytest

from embedding.local.store import LocalStore
from embedding.reference.store import ReferenceStore
from embedding.store import EmbeddingStore, Table
from recsys.errors import InvalidValueError
from tests.contracts.embedding_store import EmbeddingStoreContract
from tests.embedding.tiers import tiered


class TestReferenceStore(EmbeddingStoreContract):
    def make(self, *tables: Table, seed: int = 0) -> EmbeddingStore:
        return ReferenceStore(tables, seed)


class TestLocalStore(EmbeddingStoreContract):
    def make(self, *tables: Table, seed: int = 0) -> EmbeddingStore:
        return LocalStore(tables, seed)


class _Tiered(EmbeddingStoreContract):
    """Half of each table's rows are on disk, and nobody sees it but a call of more ids than memory holds."""

    # these look up as many ids at once as the table holds
    test_an_update_after_the_id_went_trains_nobody_and_is_counted = None  # type: ignore[assignment]
    test_ten_expire_refill_cycles_at_full_capacity = None  # type: ignore[assignment]
    test_silence_for_longer_than_the_table_holds_is_remembered_by_a_snapshot = None  # type: ignore[assignment]

    def test_a_batch_larger_than_the_table_refuses_and_counts(self) -> None:
        store = self.make(Table("t", 4, capacity=6))
        store.lookup("t", np.arange(3, dtype=np.uint64), 0)
        before, many = store.digest(), np.array([1, 10, 11, 12, 12], np.uint64)
        with pytest.raises(InvalidValueError, match="4 distinct ids in one call, but memory holds 3 rows"):
            store.lookup("t", many, 0)
        assert store.digest() == before
        assert (store.peek("t", many).rows_N >= 0).tolist() == [True, False, False, False, False]


class TestTieredReferenceStore(_Tiered):
    test_one_id_a_million_times = None  # type: ignore[assignment] # as without rows on disk, which take no part

    def make(self, *tables: Table, seed: int = 0) -> EmbeddingStore:
        return ReferenceStore(map(tiered, tables), seed)


class TestTieredLocalStore(_Tiered):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        self.folder: Path = tmp_path_factory.mktemp("cold")

    def make(self, *tables: Table, seed: int = 0) -> EmbeddingStore:
        return LocalStore(map(tiered, tables), seed, cold_folder=self.folder)
