"""A replay judges what other orders would have brought, where the log's own were drawn at random."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import msgspec
import numpy as np
import pytest

from recsys.config.schema import Config
from recsys.evaluation.replay.evaluation import evaluate
from recsys.evaluation.replay.replay_result import Orders, ReplayResult
from recsys.evaluation.replay.report import replay_report
from recsys.off_policy.estimates import Estimate
from serving.ranking.exploration import PlackettLuce
from streaming.events.schema import Event, Impression, Interaction
from tests.recsys.evaluation.replay.worlds import HOUR, START, config, log_of, moving_taste

SPLIT = START + 2 * HOUR
ITEMS = [f"i{number}" for number in range(5)]
LIKED = np.array([0.6, 0.3, 0.2, 0.1, 0.05])
LISTS = 2_400


def drawn(shown: int = len(ITEMS), hours: int = 8) -> list[Event]:
    """Lists of the same five items in an order drawn evenly, of which the first `shown` are shown.

    Users click what they like where they look, which is at each position half as often as at the one before.
    """
    rng = np.random.default_rng(0)
    events: list[Event] = []
    for number in range(LISTS):
        time = START + number * hours * HOUR // LISTS
        order, propensities = PlackettLuce(1.0).order(np.full(len(ITEMS), 0.5), shown, rng)
        items = [ITEMS[place] for place in order]
        name = f"r{number}"
        user = f"u{number % 400}"
        events.append(
            Impression(id=name, time=time, user=user, items=items, propensities=np.clip(propensities, 0, 1).tolist())
        )
        clicked = rng.random(shown) < LIKED[order] * 0.5 ** np.arange(shown)
        events += [
            Interaction(time=time + 1, impression=name, item=items[place], id=f"{name}-{place}")
            for place in np.flatnonzero(clicked)
        ]
    return events


def serving(exploration: Literal["none", "plackett_luce"], temperature: float = 1.0) -> Config:
    """The small model, served by this policy."""
    settings = config(batch_size=256)
    chosen = replace(settings.serving, exploration=exploration, temperature=temperature)
    return settings.model_copy(update={"serving": chosen})


@pytest.fixture(scope="module")
def greedy() -> ReplayResult:
    return evaluate(serving("none"), log_of(drawn()), batch_until=SPLIT, refreshes=["1h"])


def of(result: ReplayResult) -> Orders:
    assert isinstance(result.orders, Orders)
    return result.orders


def test_the_true_value_of_the_best_order_is_found(greedy: ReplayResult) -> None:
    found = of(greedy)
    assert (found.lists, found.cut_short, found.incomplete) == (LISTS * 3 // 4, 0, 0)
    first = {one.top: one for one in found.arms if one.arm == "frozen"}
    truth = {1: LIKED[0], 3: float(LIKED[:3] @ [1, 0.5, 0.25])}
    assert first[1].logged.value == pytest.approx(LIKED.mean(), abs=0.03)
    for estimate in (first[1].ips, first[1].snips, first[1].dr):
        assert holds(estimate, truth[1])
    gain = first[1].gain
    assert gain is not None
    assert gain.low is not None
    assert gain.low > 0.2


def holds(estimate: Estimate | None, truth: float) -> bool:
    assert estimate is not None
    assert estimate.low is not None
    assert estimate.high is not None
    return estimate.low <= truth <= estimate.high


def test_an_order_that_was_hardly_ever_drawn_is_refused(greedy: ReplayResult) -> None:
    deep = next(one for one in of(greedy).arms if one.top == 3)
    assert deep.effective_lists < 100
    assert "fewer than 100" in deep.refused
    assert deep.dr is None


def test_the_order_that_the_log_has_is_worth_what_was_logged() -> None:
    result = evaluate(
        serving("plackett_luce", temperature=1000.0), log_of(drawn(hours=4)), batch_until=SPLIT, refreshes=[]
    )
    assert of(result).arms
    for one in of(result).arms:
        assert one.refused == ""
        assert one.ips is not None
        assert one.ips.value == pytest.approx(one.logged.value, abs=0.01)


def test_lists_that_do_not_show_all_candidates_are_not_judged_by() -> None:
    result = evaluate(serving("none"), log_of(drawn(shown=4, hours=4)), batch_until=SPLIT, refreshes=[])
    assert of(result).lists == 0
    assert of(result).cut_short == LISTS // 2
    assert of(result).arms == []


def test_a_log_without_propensities_has_no_estimates() -> None:
    result = evaluate(config(), log_of(moving_taste(hours=4)), batch_until=SPLIT, refreshes=[])
    assert result.orders is msgspec.UNSET


@pytest.mark.slow
def test_the_report_shows_them(greedy: ReplayResult) -> None:
    assert "Other orders" in replay_report.html(greedy)
    assert ReplayResult.from_json(greedy.to_json()) == greedy
