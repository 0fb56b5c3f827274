"""Wrong settings that a program gives are told as those of a file are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from recsys import Config, Recommender
from recsys.errors import ConfigError, InvalidValueError
from recsys.recommender.asked import count_of


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"training": {"batch_sise": 3}}, "training.batch_sise: unknown name; did you mean `batch_size`?"),
        ({"training": {"batch_size": -3}}, "training.batch_size: must be greater than or equal to 1, not -3"),
        ({"model": {"name": "fm", "units": 1}}, "units is an option of autoint, not of fm"),
        ({"features": {"fields": [{"name": "age", "kind": "x", "source": "user"}]}}, "field 'age': kind: must be"),
        ({"features": {"dim": np.float64(8)}}, "features.dim: must be a whole number, not 8.0"),
        (
            {"features": {"dim": np.int64(8)}},
            "features.dim: must be a whole number, not np.int64(8): write 8, as .item",
        ),
        ({"model": {"name": "dcn", "mlp": np.array([8])}}, "mlp, value 1: must be a whole number, not np.int64(8)"),
        ({1: 2}, "is no configuration: give a path"),
        (3, "3 is no configuration: give a path"),
    ],
)
def test_wrong_settings(tmp_path: Path, given: Any, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Recommender(given, folder=tmp_path)
    assert told in str(caught.value)
    assert "line " not in str(caught.value)
    if isinstance(given, dict) and all(isinstance(name, str) for name in given):
        with pytest.raises(ConfigError) as made:
            Config(**given)
        with pytest.raises(ConfigError) as validated:
            Config.model_validate(given)
        assert str(made.value) == str(validated.value) == str(caught.value)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"kind": "feedback", "colums": {}}, "mapping: colums: unknown name; did you mean `columns`?"),
        ({"kind": "x"}, "mapping: kind: must be 'impression', "),
        ({1: 2}, "mapping: {1: 2} is none: give the settings"),
        (3, "mapping: 3 is none: give the settings"),
    ],
)
def test_a_wrong_mapping(tmp_path: Path, given: Any, told: str) -> None:
    frame = pd.DataFrame({"user": ["a"], "item": ["b"], "time": [1_767_225_600_000]})
    with Recommender({}, folder=tmp_path) as made, pytest.raises(ConfigError) as caught:
        made.ingest(frame, mapping=given)
    assert str(caught.value).startswith(told)


def test_a_folder_that_is_no_path() -> None:
    with pytest.raises(InvalidValueError, match=r"^folder is 5, write the path of a folder$"):
        Recommender({}, folder=5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("refresh", "told"),
    [(3, "refresh is 3, write '1h'"), (["1h", 3], "refresh has 3, write"), ([], "refresh is empty")],
)
def test_a_wrong_refresh(tmp_path: Path, refresh: Any, told: str) -> None:
    with Recommender({}, folder=tmp_path) as made, pytest.raises(InvalidValueError, match=f"^{told}"):
        made.replay(0.5, refresh=refresh)


@pytest.mark.parametrize("k", ["2", 0, 2.0, True, 10_001])
def test_a_wrong_number_of_items(tmp_path: Path, k: Any) -> None:
    with Recommender({}, folder=tmp_path) as made:
        with pytest.raises(InvalidValueError, match=f"^k is {k!r}, write a whole number from 1 to 10,000, or None"):
            made.rank("u", ["a"], k=k)
        with pytest.raises(InvalidValueError, match=f"^k is {k!r}, write a whole number from 1 to 10,000$"):
            made.recommend("u", k)


def test_a_number_of_items_of_numpy_is_one() -> None:
    given = count_of(np.int64(3), required=True)
    assert (type(given), given) == (int, 3)
