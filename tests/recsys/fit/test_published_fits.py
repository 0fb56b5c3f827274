"""The page shows the tables of the committed results."""

from __future__ import annotations

import pytest

from recsys.fit.studies.autoint_table import AUTOINT
from recsys.fit.studies.fit_study import FitStudyResult, FitTable
from recsys.fit.studies.gated_table import GATED
from recsys.fit.studies.histories_table import HISTORIES
from recsys.fit.studies.unified_table import UNIFIED
from recsys.search.search_study import SearchStudyResult
from recsys.search.search_tables import DNIS, IHAS
from tests.test_docs import ROOT

SEARCHES = [table for table in (DNIS, IHAS) if (ROOT / "docs/results" / table.name).exists()]
TABLES = [table for table in (AUTOINT, GATED, HISTORIES, UNIFIED) if (ROOT / "docs/results" / table.name).exists()]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_the_table_of_the_page_is_that_of_the_result(table: FitTable) -> None:
    result = FitStudyResult.from_json((ROOT / f"docs/results/{table.name}/{table.name}.json").read_bytes())
    assert result.markdown(table) in (ROOT / "docs/models.md").read_text("utf-8")
    assert list(result.settings.items()) == [(name, table.settings_of(name, 0)) for name in table.models]


@pytest.mark.parametrize("table", SEARCHES, ids=lambda table: table.name)
def test_the_table_of_searches_is_that_of_the_result(table: FitTable) -> None:
    result = SearchStudyResult.from_json((ROOT / f"docs/results/{table.name}/{table.name}.json").read_bytes())
    assert result.markdown() in (ROOT / "docs/models.md").read_text("utf-8")
    assert list(result.settings.items()) == [(name, table.settings_of(name, 0)) for name in table.models]
