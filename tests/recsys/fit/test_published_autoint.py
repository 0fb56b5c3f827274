"""The page shows the table of the committed result."""

from __future__ import annotations

from recsys.fit.autoint_study import AutoIntResult
from tests.test_docs import ROOT


def test_the_table_of_the_page_is_that_of_the_result() -> None:
    result = AutoIntResult.from_json((ROOT / "docs/results/autoint/autoint.json").read_bytes())
    assert result.markdown() in (ROOT / "docs/models.md").read_text("utf-8")
