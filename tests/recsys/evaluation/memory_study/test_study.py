"""A study varies the store alone, and its counters are the store's."""

from collections.abc import Callable
from xml.etree import ElementTree

import msgspec
import numpy as np
import pytest

from recsys.evaluation.memory_study.memory_study import MemoryStudy
from recsys.evaluation.memory_study.plot import auc_against_memory
from recsys.evaluation.memory_study.setting import parse
from recsys.evaluation.memory_study.study_report import COLUMNS, markdown, notes, size
from recsys.evaluation.memory_study.study_result import MIB, StudyResult
from recsys.evaluation.replay.evaluation import evaluate
from tests.recsys.evaluation.replay.worlds import HOUR, START, config, log_of, moving_taste

HOURS = 5
SPLIT = START + 2 * HOUR
TABLES = ("user", "item", "hour")
TRIED = (
    "user.capacity=1/1",
    "user.capacity=1/2",
    "user.capacity=1/8",
    "user.ttl=10m",
    "user.admission=count:3",
    "user.capacity=1/2 item.ttl=2m",
)


def study_of(hours: int = HOURS) -> MemoryStudy:
    return MemoryStudy(config(), log_of(moving_taste(hours)), SPLIT, "1h")


def studied(*tried: str, seeds: int = 1, study: MemoryStudy | None = None) -> list[StudyResult]:
    study = study or study_of()
    return list(study.results([parse(text, TABLES) for text in tried], seeds))


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def unasked() -> list[StudyResult]:
    """Of a study without settings."""
    return studied()


@pytest.fixture(scope="module")
def by_seed() -> list[StudyResult]:
    return studied("user.ttl=1h", seeds=2)


@pytest.fixture(scope="module")
def result() -> StudyResult:
    return studied(*TRIED, seeds=2)[-1]


def test_every_setting_is_replayed_with_every_seed(result: StudyResult) -> None:
    assert [point.name for point in result.points] == ["unbounded", *TRIED]
    assert all([run.seed for run in point.runs] == [0, 1] for point in result.points)
    assert len({run.scores_sha256 for run in result.points[0].runs}) == 2


def test_the_unbounded_store_scores_as_the_configured_one_does(result: StudyResult) -> None:
    arm = evaluate(config(), log_of(moving_taste(HOURS)), batch_until=SPLIT, refreshes=["1h"]).arm("online@1h")
    assert result.points[0].runs[0].scores_sha256 == arm.scores_sha256
    assert result.points[0].runs[0].scored == arm.all


def test_room_for_every_id_changes_no_score(result: StudyResult) -> None:
    roomy = result.point("user.capacity=1/1").runs[0]
    assert roomy.scores_sha256 == result.points[0].runs[0].scores_sha256
    assert roomy.bytes <= result.points[0].runs[0].bytes


def test_less_capacity_is_fewer_bytes_and_more_evictions(result: StudyResult) -> None:
    all_of_them, half, quarter = (result.point(name).runs[0] for name in TRIED[:3])
    assert all_of_them.bytes > half.bytes > quarter.bytes
    assert all_of_them.total("evicted") == 0 < half.total("evicted") < quarter.total("evicted")
    assert half.tables["user"]["live"] <= result.points[0].runs[0].tables["user"]["live"] // 2


def test_counters_add_up(result: StudyResult) -> None:
    for point in result.points:
        for run in point.runs:
            assert run.bytes == run.total("bytes") <= run.most_bytes
            for counters in run.tables.values():
                assert counters["live"] == counters["admitted"] - counters["expired"] - counters["evicted"]
            assert run.scored["rows"] == result.counts["rows_scored"] == 2 * 3 * 120


def test_each_setting_does_what_it_says(result: StudyResult) -> None:
    assert result.point("user.ttl=10m").runs[0].tables["user"]["expired"] > 0
    assert result.point("user.admission=count:3").runs[0].tables["user"]["unadmitted"] > 0
    both = result.point("user.capacity=1/2 item.ttl=2m").runs[0].tables
    assert both["user"]["evicted"] > 0
    assert both["item"]["expired"] > 0
    assert both["item"]["evicted"] == both["user"]["expired"] == both["hour"]["expired"] == 0


def test_differences_are_to_the_unbounded_store_with_the_same_seed(result: StudyResult) -> None:
    base, half = result.points[0], result.point("user.capacity=1/2")
    windows = [np.array([run.window_auc for run in point.runs], float) for point in (half, base)]
    assert half.gain.auc == pytest.approx((windows[0] - windows[1]).mean(), abs=2e-6)
    assert base.gain.auc == 0
    auc_PS = np.array([[run.scored["auc"] for run in point.runs] for point in result.points], float)
    deviations = auc_PS.std(axis=1, ddof=1)
    assert result.seed_deviation == pytest.approx(np.sqrt(np.mean(np.square(deviations))), abs=2e-6)
    gains = (auc_PS[1:] - auc_PS[0]).std(axis=1, ddof=1)
    assert result.chance == pytest.approx(2 * np.sqrt(np.mean(np.square(gains)) / 2), abs=2e-6)


@pytest.mark.slow
def test_one_that_stops_early_has_what_was_replayed(by_seed: list[StudyResult]) -> None:
    assert [[len(point.runs) for point in found.points] for found in by_seed] == [[1], [1, 1], [2, 1], [2, 2]]
    assert by_seed[1].seed_deviation is None
    assert by_seed[-1].to_json() == studied("user.ttl=1h", seeds=2)[-1].to_json()


def test_replays_of_the_same_study_are_taken_over(by_seed: list[StudyResult]) -> None:
    study = study_of()
    told: list[str] = []
    earlier = by_seed[1]
    study.resume(earlier)
    settings = [parse(text, TABLES) for text in ("item.ttl=2m", "user.ttl=1h")]
    assert [(setting.name, seed) for setting, seed in study.missing(settings, seeds=1)] == [("item.ttl=2m", 0)]
    taken, last = study.results(settings, seeds=1, report=lambda name, _: told.append(name))
    assert [point.name for point in taken.points] == ["unbounded", "user.ttl=1h"]
    assert set(told) == {"item.ttl=2m, seed 0"}
    assert last.to_json() == studied("item.ttl=2m", "user.ttl=1h")[-1].to_json()


@pytest.mark.slow
def test_what_is_known_of_the_study_stays_whatever_is_asked(by_seed: list[StudyResult]) -> None:
    earlier = by_seed[-1]
    study = study_of()
    study.resume(earlier)
    for found in study.results([parse("item.ttl=2m", TABLES)], seeds=1):
        assert found.point("user.ttl=1h") == earlier.point("user.ttl=1h")
        assert found.points[0] == earlier.points[0]
    assert [len(point.runs) for point in found.points] == [2, 1, 2]
    assert [point.name for point in found.points] == ["unbounded", "item.ttl=2m", "user.ttl=1h"]
    (again,) = study.results([parse("user.ttl=1h", TABLES)], seeds=1)
    assert {point.name for point in again.points} == {point.name for point in found.points}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("other", "difference"),
    [
        (
            lambda: MemoryStudy(config(seed=1), log_of(moving_taste(HOURS)), SPLIT, "1h"),
            "training.seed was 0 and is 1",
        ),
        (
            lambda: MemoryStudy(config(), log_of(moving_taste(HOURS)), SPLIT + 1000, "1h"),
            r"--batch-until was \S+T\S+ and is \S+T\S+",
        ),
        (lambda: MemoryStudy(config(), log_of(moving_taste(HOURS)), SPLIT, "10m"), "--refresh was 1h and is 10m"),
        (
            lambda: MemoryStudy(config(), log_of(moving_taste(HOURS + 1)), SPLIT, "1h"),
            "count of items_shown was .* and is",
        ),
    ],
)
def test_another_study_is_refused_with_what_differs(
    other: Callable[[], MemoryStudy], difference: str, unasked: list[StudyResult]
) -> None:
    with pytest.raises(ValueError, match=f"another study: .*{difference}"):
        other().resume(unasked[0])


@pytest.mark.slow
def test_without_settings_the_biggest_table_is_tried(unasked: list[StudyResult]) -> None:
    assert {point.family.partition(".")[0] for point in unasked[-1].points[1:]} == {"user"}


def test_a_reference_that_is_itself_bounded_is_refused() -> None:
    bounded = config().model_copy(
        update={"features": config().features.model_validate({"dim": 4, "tables": {"user": {"capacity": 20}}})}
    )
    study = MemoryStudy(bounded, log_of(moving_taste()), SPLIT, "1h")
    with pytest.raises(ValueError, match=r"raise features\.tables\.user\.capacity"):
        next(study.results())


def test_the_table_has_a_line_a_setting_and_the_file_reads_back(result: StudyResult) -> None:
    lines = [line for line in markdown(result).splitlines() if line.startswith("|")]
    assert [line.count("|") for line in lines] == [len(COLUMNS) + 1] * (2 + len(result.points))
    assert StudyResult.from_json(result.to_json()) == result
    with pytest.raises(ValueError, match="not a result of `recsys memory`"):
        StudyResult.from_json(b"{}")


def test_refused_ids_are_told_with_a_remedy(result: StudyResult) -> None:
    (note,) = notes(result)
    refusing = [point.name for point in result.points if any(run.total("refused") for run in point.runs)]
    assert refusing == ["user.capacity=1/8"]
    assert "refused with user.capacity=1/8: the capacity is below the ids of one batch of 16 examples" in note
    assert "try a larger capacity" in note
    assert note in markdown(result)
    assert notes(msgspec.structs.replace(result, points=result.points[:2])) == []


def test_a_small_store_is_not_rounded_to_nothing(result: StudyResult) -> None:
    for point in result.points:
        assert float(size(point.most_bytes)) == pytest.approx(point.most_bytes / MIB, rel=0.005)


def test_the_plot_names_every_family_and_value(result: StudyResult) -> None:
    drawn = auc_against_memory(result)
    texts = {"".join(element.itertext()).strip() for element in ElementTree.fromstring(drawn).iter()}
    for label in ("unbounded", "user.capacity", "1/8", "user.ttl", "10m", "count:3", "1/2 2m"):
        assert label in texts
    assert drawn == auc_against_memory(result)
