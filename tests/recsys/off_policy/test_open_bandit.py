"""The Open Bandit study on a planted log, on what is not such a log, and as published."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from recsys.cli import main
from recsys.errors import FileError, InvalidValueError
from recsys.off_policy.open_bandit_study import BanditResult, open_bandit_study
from tests.test_docs import ROOT

ITEMS = 5
LIKED = np.array([0.5, 0.2, 0.1, 0.1, 0.1])
SHARES = {"random": np.full(ITEMS, 1 / ITEMS), "bts": np.array([0.4, 0.3, 0.1, 0.1, 0.1])}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Both policies in both campaigns; items are liked alike at all positions."""
    rng = np.random.default_rng(0)
    for policy, shares in SHARES.items():
        for campaign in ("men", "women"):
            (tmp_path / policy / campaign).mkdir(parents=True)
            items = rng.choice(ITEMS, 3_000, p=shares)
            clicks = (rng.random(len(items)) < LIKED[items]).astype(int)
            lines = [f"{n},{n % 3 + 1},{item},{clicks[n]},{shares[item]}" for n, item in enumerate(items)]
            text = "\n".join(["timestamp,position,item_id,click,propensity_score", *lines])
            (tmp_path / policy / campaign / f"{campaign}.csv").write_text(text + "\n")
    return tmp_path


def test_each_policy_is_found_from_the_others_log(folder: Path) -> None:
    rows = open_bandit_study(folder).rows
    assert [(row.log, row.target) for row in rows] == [("random", "bts"), ("bts", "random")] * 2
    for row in rows:
        truth = float(SHARES[row.target] @ LIKED)
        assert row.own.value == pytest.approx(truth, abs=0.03)
        for estimate in row.estimates.values():
            assert estimate.value == pytest.approx(truth, abs=0.04)
    agree = [agrees for row in rows for agrees in row.agrees.values()]
    assert len(agree) == 12
    assert sum(agree) >= 9, "one in twenty does not by chance, and the estimators of a log do so together"


def test_the_command_writes_what_the_study_finds(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = CliRunner().invoke(main, ["reproduce", "open-bandit", str(folder), "--out", str(out)])
    assert done.exit_code == 0, done.output
    written = BanditResult.from_json((out / "open_bandit.json").read_bytes())
    assert written == open_bandit_study(folder)


def test_other_data_is_refused_with_the_file(folder: Path) -> None:
    path = folder / "bts" / "women" / "women.csv"
    path.write_text("position,item_id,click,propensity_score\n1,2,0,1.5\n")
    with pytest.raises(InvalidValueError, match=r"women\.csv has propensities"):
        open_bandit_study(folder)
    path.write_text("a,b\n1,2\n")
    with pytest.raises(InvalidValueError, match=r"women\.csv is not a log of the Open Bandit Dataset"):
        open_bandit_study(folder)
    path.unlink()
    with pytest.raises(FileError, match=r"women\.csv"):
        open_bandit_study(folder)


def test_the_table_of_the_page_is_that_of_the_result() -> None:
    result = BanditResult.from_json((ROOT / "docs/results/open_bandit/open_bandit.json").read_bytes())
    assert result.markdown() in (ROOT / "docs/replay.md").read_text("utf-8")
