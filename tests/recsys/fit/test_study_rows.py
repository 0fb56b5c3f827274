"""The rows of a study are read once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from recsys import wiring
from recsys.config.file import parse
from recsys.config.schema import Config
from recsys.datasets.ml1m_autoint import ml1m_autoint
from recsys.fit.parts import read_parts, read_rows
from recsys.fit.studies import study_rows
from recsys.fit.studies.autoint_table import AUTOINT
from recsys.fit.studies.study_rows import StudyRows
from tests.recsys.fit.test_fit_study import folder

__all__ = ["folder"]


def test_models_and_seeds_share_what_was_read_and_other_labels_do_not(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def counted(config: Config, *rest: object) -> object:
        read.append(config.model.name)
        return read_rows(config, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(study_rows, "read_rows", counted)

    def config(model: str, seed: int, positive: str = "like") -> Config:
        text = AUTOINT.settings_of(model, seed).replace('"like"', f'"{positive}"')
        return parse(text, tmp_path / "recsys.toml")

    rows = StudyRows(ml1m_autoint(folder).to_batches(), tmp_path)
    found = [rows.parts(one) for one in (config("LR", 0), config("FM", 0), config("FM", 1))]
    assert read == ["lr"]
    assert found[0].rows == found[1].rows != found[2].rows  # by the seed
    log = wiring.event_log(config("FM", 1))
    alone = read_parts(config("FM", 1), log)
    log.close()
    np.testing.assert_array_equal(found[2].test.keys_B, alone.test.keys_B)
    np.testing.assert_array_equal(found[2].test.labels_B, alone.test.labels_B)
    assert rows.parts(config("LR", 0, "hate")).training.labels_B.sum() == 0
    assert len(read) == 2
