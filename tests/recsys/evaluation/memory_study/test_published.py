"""The published study: what the page says is in its files."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from embedding.local.store import LocalStore
from embedding.store import Table
from recsys.evaluation.memory_study.setting import UNBOUNDED
from recsys.evaluation.memory_study.study_report import document, markdown
from recsys.evaluation.memory_study.study_result import StudyResult
from recsys.evaluation.memory_study.toml import sections
from recsys.evaluation.replay.arm_figures import gain

DOCS = Path(__file__).resolve().parents[4] / "docs"
FOLDER = DOCS / "results" / "globo_memory"
PAGE = DOCS / "choosing_memory.md"
ROW = 4 * (16 + 1) + 8
ID = 23.2
"""Bytes of a row of 16 weights with one state, and of an id in a full table."""


@pytest.fixture(scope="module")
def result() -> StudyResult:
    return StudyResult.from_json((FOLDER / "result.json").read_bytes())


def test_the_table_and_the_page_are_those_of_the_result(result: StudyResult) -> None:
    assert (FOLDER / "table.md").read_text() == document(result)
    assert markdown(result) in PAGE.read_text()
    assert sections(result.point("user.capacity=1/4")) in PAGE.read_text()
    assert sections(result.point("user.admission=count:9")) in PAGE.read_text()


def test_a_full_table_takes_the_bytes_that_the_page_computes(result: StudyResult) -> None:
    for name in ("user.capacity=1/2", "user.capacity=1/8", "user.capacity=1/32"):
        user = result.point(name).runs[0].tables["user"]
        assert user["bytes"] / user["live"] == pytest.approx(ROW + ID, rel=0.03)


def test_counters_of_every_run_add_up(result: StudyResult) -> None:
    assert result.points[0].name == UNBOUNDED
    for found in result.points:
        for run in found.runs:
            assert run.bytes == run.total("bytes") <= run.most_bytes
            assert run.total("live") == run.total("admitted") - run.total("expired") - run.total("evicted")
            for name, counters in run.tables.items():
                assert counters["live"] <= found.settings[name]["capacity"]


def test_the_figures_in_the_text_are_those_of_the_result(result: StudyResult) -> None:
    text = PAGE.read_text()
    (roomy,), full = [result.points[0].runs[:1], result.point("user.capacity=1/2").runs[0]]
    for run in (roomy, full):
        user = run.tables["user"]
        assert f"{user['bytes'] / user['live']:.1f} bytes" in text
    for name in ("user", "item"):
        assert f"{roomy.tables[name]['live']:,}" in text
    assert f"{len(result.points[0].runs)} seeds" in text


def test_what_the_page_concludes_is_beyond_chance_or_within_it(result: StudyResult) -> None:
    gains = {found.name: found.gain.auc or 0.0 for found in result.points}
    chance = result.chance or 0.0
    lost = [-gains[f"user.capacity={share}"] for share in ("1/2", "1/4", "1/8", "1/16", "1/32", "1/256")]
    assert chance < lost[0]
    assert lost == sorted(lost)
    assert lost[-1] < 0.02
    for other in ("user.ttl=1d", "user.admission=count:9"):
        assert gains["user.capacity=1/2"] - gains[other] > chance
    for within in ("user.ttl=3d", "item.ttl=6h", "user.admission=count:2", "user.admission=count:3"):
        assert abs(gains[within]) < chance


def test_gains_and_deviations_are_computed_from_the_runs_again(result: StudyResult) -> None:
    auc_of, over_of = [], []
    reference = result.points[0].runs
    for point in result.points:
        runs_of = [point.runs, reference[: len(point.runs)]]
        windows = [np.mean(np.array([run.window_auc for run in runs], np.float64), axis=0) for runs in runs_of]
        again = gain(UNBOUNDED, *windows)
        published = point.gain
        for value, other in ((again.auc, published.auc), (again.low, published.low), (again.high, published.high)):
            assert value == pytest.approx(other, abs=1e-6)
        auc_of.append(np.array([run.scored["auc"] for run in point.runs], np.float64))
        over_of.append(auc_of[-1] - auc_of[0][: len(point.runs)])
    assert result.seed_deviation == pytest.approx(pooled(auc_of), abs=1e-6)
    assert result.gain_deviation == pytest.approx(pooled(over_of[1:]), abs=1e-6)


def pooled(groups: list[npt.NDArray[np.float64]]) -> float:
    """Standard deviation within groups of equal size."""
    return float(np.sqrt(np.mean([group.var(ddof=1) for group in groups])))


@pytest.mark.parametrize("name", ["user.capacity=1/2", "user.capacity=1/8", "user.capacity=1/32"])
def test_a_table_that_is_filled_takes_the_published_bytes(result: StudyResult, name: str) -> None:
    published = result.point(name).runs[0].tables["user"]
    dim, capacity = result.config["features"]["dim"], result.point(name).settings["user"]["capacity"]
    store = LocalStore([Table("user", dim, capacity=capacity)])
    for ids_N in np.array_split(np.arange(1, published["live"] + 1, dtype=np.uint64), 100):
        store.lookup("user", ids_N, now=0)
    counters = store.counters("user")
    assert counters["live"] == published["live"]
    assert counters["bytes"] == pytest.approx(published["bytes"], rel=0.03)
