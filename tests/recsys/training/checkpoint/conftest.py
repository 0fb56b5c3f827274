"""An object store with the bucket `shop`, to which the credentials of the environment give access."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.object_store import ObjectStore


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ObjectStore.key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with ObjectStore("shop") as store:
        yield store
