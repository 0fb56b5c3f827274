"""The published results: what they claim is in their files, and a small part of them is run again."""

from datetime import date
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from recsys.config.file import load
from recsys.datasets.globo import globo
from recsys.evaluation.metrics import entropy
from recsys.evaluation.replay.arm_figures import gain
from recsys.evaluation.replay.evaluation import evaluate
from recsys.evaluation.replay.replay_result import ReplayResult
from recsys.evaluation.replay.report import seeds
from recsys.evaluation.replay.report.replay_report import markdown
from streaming.log.memory_log import MemoryLog
from tests.recsys.datasets.test_datasets import shared

ROOT = Path(__file__).resolve().parents[4]
RESULTS = ROOT / "docs" / "results"
SEEDS = ("globo", "globo_seed_1", "globo_seed_2")


def result(name: str) -> ReplayResult:
    return ReplayResult.from_json((RESULTS / name / "result.json").read_bytes())


@pytest.mark.parametrize("name", SEEDS)
def test_on_globo_every_shorter_interval_is_better_and_the_frozen_model_far_behind(name: str) -> None:
    frozen, *online = result(name).arms
    auc = [arm.interval_auc or 0.0 for arm in online]
    assert [arm.name for arm in online] == [f"online@{refresh}" for refresh in ("24h", "5h", "1h", "30m", "10m")]
    assert auc == sorted(auc)
    assert all((arm.gains[-1].low or 0) > 0 for arm in online)
    assert (frozen.all["auc"] or 1) < auc[-1] - 0.15


def test_on_globo_intervals_differ_by_more_than_seeds() -> None:
    by_seed = [[arm.interval_auc or 0.0 for arm in result(name).arms] for name in SEEDS]
    for longer, shorter in pairwise(zip(*by_seed, strict=True)):
        assert min(shorter) > max(longer)


def test_the_table_of_seeds_is_of_the_results() -> None:
    assert seeds.markdown([result(name) for name in SEEDS]) in (RESULTS / "README.md").read_text()


def test_on_ml1m_online_is_ahead_of_frozen() -> None:
    _, *online = result("ml1m").arms
    assert len(online) > 1
    for arm in online:
        assert (arm.interval_auc or 0) > (arm.frozen_interval_auc or 1)
        assert (arm.gains[0].low or 0) > 0


@pytest.mark.parametrize("name", [*SEEDS, "ml1m"])
def test_the_tables_are_those_of_the_results(name: str) -> None:
    assert (RESULTS / name / "table.md").read_text() == markdown(result(name))


@pytest.mark.parametrize("name", [*SEEDS, "ml1m"])
def test_gains_are_computed_from_the_windows_again(name: str) -> None:
    found = result(name)
    auc_of = {arm.name: np.array(arm.window_auc, np.float64) for arm in found.arms}
    assert all(arm.gains for arm in found.arms[1:])
    for arm in found.arms:
        for published in arm.gains:
            again = gain(published.over, auc_of[arm.name], auc_of[published.over])
            for value, other in ((again.auc, published.auc), (again.low, published.low), (again.high, published.high)):
                assert value == pytest.approx(other, abs=2e-6)  # window AUC has six digits


@pytest.mark.parametrize("name", [*SEEDS, "ml1m"])
def test_figures_of_an_arm_agree_with_each_other(name: str) -> None:
    found = result(name)
    assert sum(window.rows for window in found.windows) == found.counts["rows_scored"]
    for arm in found.arms:
        rows, positives, loss = (arm.all[key] or 0 for key in ("rows", "positives", "log_loss"))
        assert rows == sum(bin_.rows for bin_ in arm.reliability) == found.counts["rows_scored"]
        assert positives == pytest.approx(sum(bin_.rows * bin_.observed for bin_ in arm.reliability), abs=1)
        assert arm.all["calibration"] == pytest.approx(
            sum(bin_.rows * bin_.predicted for bin_ in arm.reliability) / positives, abs=1e-5
        )
        assert arm.all["normalised_entropy"] == pytest.approx(loss / entropy(positives / rows), abs=1e-5)
        for kind in ("user", "item"):
            parts = [arm.slices[f"{slice_} {kind}"] for slice_ in ("known", "new")]
            assert sum(part["rows"] or 0 for part in parts) == rows
            assert sum((part["rows"] or 0) * (part["log_loss"] or 0) for part in parts) / rows == pytest.approx(
                loss, abs=1e-5
            )


@pytest.mark.slow
@pytest.mark.shared_data
def test_a_morning_of_globo_shows_it_again() -> None:
    clicks = shared("globo/clicks.parquet")
    log = MemoryLog()
    for events in globo(clicks, start=date(2017, 10, 10), end=date(2017, 10, 11)):
        log.append(events)
    found = evaluate(
        load(ROOT / "examples" / "globo.toml"),
        log,
        batch_until=1507606800000,  # 03:40 UTC
        refreshes=["1h", "10m"],
        until=1507633200000,  # 11:00 UTC
    )
    frozen, hour, minutes = (arm.interval_auc or 0.0 for arm in found.arms)
    assert frozen < hour < minutes
