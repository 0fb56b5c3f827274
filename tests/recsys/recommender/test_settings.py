"""Wrong settings that a program gives are told as those of a file are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from recsys import Config, Recommender
from recsys.errors import ConfigError


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"training": {"batch_sise": 3}}, "training.batch_sise: unknown name; did you mean `batch_size`?"),
        ({"training": {"batch_size": -3}}, "training.batch_size: must be greater than or equal to 1, not -3"),
        ({"model": {"name": "fm", "units": 1}}, "units is an option of autoint, not of fm"),
        ({"features": {"fields": [{"name": "age", "kind": "x", "source": "user"}]}}, "field 'age': kind: must be"),
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
