"""The report: everything in one file, defined for every result."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from io import StringIO

import msgspec
import numpy as np
import pytest
from rich.console import Console

from recsys.commands.output.replay_tables import table
from recsys.evaluation import metrics
from recsys.evaluation.replay.arm_figures import arm_results, windows
from recsys.evaluation.replay.arms import ReplayArm, frozen, online
from recsys.evaluation.replay.replay_result import ReplayResult
from recsys.evaluation.replay.report.replay_report import figure, html, markdown
from recsys.evaluation.replay.scored_rows import ScoredRows
from tests.recsys.evaluation.replay.test_figures import noisy, rows_of, scored

pytestmark = pytest.mark.slow


def result_of(rows: ScoredRows, arms: list[ReplayArm]) -> ReplayResult:
    known = np.arange(len(rows)) % 3 == 0
    said = [scored(arm, noisy(rows, 0.5 + k, k), known, ~known) for k, arm in enumerate(arms)]
    config = {"model": {"name": "<autoint>"}}
    return ReplayResult(0, len(rows) + 1, {"rows_scored": len(rows)}, config, windows(rows), arm_results(rows, said))


@pytest.fixture(scope="module")
def result() -> ReplayResult:
    rows = rows_of(np.random.default_rng(0).integers(0, 2, 2000).tolist())
    return result_of(rows, [frozen(0), online("1s", 0, rows.times_R), online("500ms", 0, rows.times_R)])


class _Page(HTMLParser):
    """Counts tags, and every address that a browser would go and fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: dict[str, int] = {}
        self.fetched: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] = self.tags.get(tag, 0) + 1
        self.fetched += [value for name, value in attrs if name in ("src", "href") and value and value[0] != "#"]


def test_the_page_has_all_plots_and_fetches_nothing(result: ReplayResult) -> None:
    text = html(result, "My <log>")
    page = _Page(text)
    assert page.tags["svg"] == 4
    assert page.fetched == []
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)
    assert "My &lt;log&gt;" in text
    assert "<autoint>" not in text


def test_the_same_result_gives_the_same_page(result: ReplayResult) -> None:
    assert html(result) == html(ReplayResult.from_json(result.to_json()))


def test_the_tables_name_every_arm(result: ReplayResult) -> None:
    lines = markdown(result).splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| frozen", "| online@1s", "| online@500ms"]
    assert len({line.count("|") for line in lines}) == 1
    assert table(result).row_count == 3


def test_every_figure_is_whole_in_a_narrow_terminal() -> None:
    rows = rows_of(np.random.default_rng(0).integers(0, 2, 200).tolist())
    found = result_of(
        rows, [frozen(0), replace(online("50ms", 0, rows.times_R), name="online@20 slices of a long name")]
    )
    console = Console(width=80, record=True, file=StringIO())
    console.print(table(found))
    said = console.export_text()
    assert "…" not in said
    for arm in found.arms:
        for value in (arm.all["auc"], arm.all["log_loss"], arm.interval_auc):
            assert figure(value) in said.split()


def test_the_terminal_shows_a_metric_that_was_registered(result: ReplayResult, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(metrics.METRICS, "brier", metrics.Metric(metrics.log_loss, "Brier score", digits=3))
    figures = {arm.name: arm.all | {"brier": 0.125} for arm in result.arms}
    arms = [msgspec.structs.replace(arm, all=figures[arm.name]) for arm in result.arms]
    console = Console(width=80, record=True, file=StringIO())
    console.print(table(msgspec.structs.replace(result, arms=arms)))
    said = console.export_text()
    assert "Brier" in said
    assert said.split().count("0.125") == len(arms)
    assert "…" not in said


@pytest.mark.parametrize("labels", [[], [0, 0, 0], [0, 1]])
def test_a_result_with_nothing_in_it_still_has_a_page(labels: list[int]) -> None:
    rows = rows_of(labels) if labels else ScoredRows([], 0, 1)
    page = html(result_of(rows, [frozen(0), online("1s", 0, rows.times_R)]))
    assert page.count("<svg") == 4
    assert "nan" not in re.sub(r"<svg.*?</svg>", "", page, flags=re.DOTALL).lower()
