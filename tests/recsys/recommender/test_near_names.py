"""Columns that nearly have the name of a field: `test_ingest` has them in frames."""

from __future__ import annotations

import pyarrow as pa
import pytest

from recsys.errors import InvalidValueError
from recsys.recommender.sources.near_names import check_near_names


def test_a_field_that_is_there_is_not_sought_in_other_columns() -> None:
    table = pa.table({"user": ["ada"], "user_id": ["7"]})
    check_near_names(table, ["user"], "lists")
    with pytest.raises(InvalidValueError, match="column 'user_id' looks like 'user'"):
        check_near_names(table.drop_columns("user"), [], "lists")
