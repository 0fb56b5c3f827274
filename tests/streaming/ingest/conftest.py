"""What tests of sorting share."""

from __future__ import annotations

from typing import Any

import pytest

from streaming.ingest.ordering.external_sort import ExternalSort


@pytest.fixture
def spills(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Of each sort."""
    found: list[int] = []
    end = ExternalSort.__exit__

    def counted(self: ExternalSort, *error: Any) -> None:
        found.append(self.spills)
        end(self, *error)

    monkeypatch.setattr(ExternalSort, "__exit__", counted)
    return found
