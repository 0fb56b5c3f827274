"""The page shows the table of the committed result."""

from __future__ import annotations

from recsys.fit.studies.autoint_table import AUTOINT
from recsys.fit.studies.fit_study import FitStudyResult
from tests.test_docs import ROOT


def test_the_table_of_the_page_is_that_of_the_result() -> None:
    result = FitStudyResult.from_json((ROOT / "docs/results/autoint/autoint.json").read_bytes())
    assert result.markdown(AUTOINT) in (ROOT / "docs/models.md").read_text("utf-8")
    assert list(result.settings.items()) == [(name, AUTOINT.settings_of(name, 0)) for name in AUTOINT.models]
