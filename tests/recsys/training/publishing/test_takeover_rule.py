"""When a run may take the place of the one that servers follow."""

from __future__ import annotations

import logging
from dataclasses import replace
from types import SimpleNamespace
from typing import cast, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.training.publishing.takeover_rule import FIGURE, MARGIN, Candidacy, Mode, TakeoverRule, judged
from serving.replication.publish.served_run import Rival, ServedRun
from serving.replication.takeovers import Takeover

RIVAL = Rival("aa", {"click": {FIGURE: 0.8}}, None)
READY = Candidacy("bb", steps=10, unread=3, has_caught_up=True, is_traced=True, figures={"click": {FIGURE: 0.8}})
BACK = Takeover("aa", "bb", 0, "ada@here", rolled_back=True)


def of(figure: float | None, task: str = "click") -> Candidacy:
    return replace(READY, figures={task: {} if figure is None else {FIGURE: figure}})


@given(st.floats(0.01, 2), st.floats(0.01, 2))
def test_a_run_that_has_read_the_log_is_served_unless_its_loss_is_above_the_others_by_the_margin(
    ours: float, theirs: float
) -> None:
    verdict = judged("validated", of(ours), Rival("aa", {"click": {FIGURE: theirs}}, None))
    assert verdict.may == (ours <= (1 + MARGIN) * theirs)
    assert f"{ours:.4f} for click, against {theirs:.4f} of run aa" in verdict.because


def test_a_run_whose_loss_is_not_defined_is_not_served() -> None:
    """As when all its scores are NaN."""
    verdict = judged("validated", of(None), RIVAL)
    assert not verdict.may
    assert "undefined for click, against 0.8000" in verdict.because


@pytest.mark.parametrize("figures", [{}, {"click": {}}, {"bought": {FIGURE: 0.1}}], ids=["none", "undefined", "others"])
def test_against_a_run_of_which_nothing_is_known_it_goes_by_lag_alone_and_says_so(
    figures: dict[str, dict[str, float]],
) -> None:
    verdict = judged("validated", of(3.0), Rival("aa", figures, None))
    assert verdict.may
    assert "nothing is known of how well run aa did" in verdict.because


def test_of_several_tasks_none_may_be_worse() -> None:
    rival = Rival("aa", {"click": {FIGURE: 0.8}, "buy": {FIGURE: 0.5}}, None)
    own = replace(READY, figures={"click": {FIGURE: 0.1}, "buy": {FIGURE: 0.6}})
    assert not judged("validated", own, rival).may
    assert judged("validated", replace(own, figures={**own.figures, "buy": {FIGURE: 0.5}}), rival).may


@pytest.mark.parametrize(
    ("mode", "own", "may"),
    [
        ("validated", replace(READY, has_caught_up=False), False),
        ("validated", replace(READY, is_traced=False), False),
        ("validated", of(0.9), False),
        ("caught_up", of(0.9), True),
        ("caught_up", replace(READY, has_caught_up=False), False),
        ("at_once", replace(of(0.9), has_caught_up=False), True),
        ("at_once", replace(READY, has_caught_up=False, steps=0), False),
        ("at_once", replace(READY, is_traced=False), False),
        ("never", READY, False),
    ],
)
def test_what_is_waited_for(mode: Mode, own: Candidacy, *, may: bool) -> None:
    assert judged(mode, own, RIVAL).may == may


@pytest.mark.parametrize("mode", get_args(Mode))
def test_a_run_that_somebody_has_gone_back_from_does_not_come_back_by_itself(mode: Mode) -> None:
    verdict = judged(mode, of(0.1), replace(RIVAL, gone_back=BACK))
    assert not verdict.may
    assert verdict.because == "ada@here has gone back from it: `recsys rollback` serves it again"


def test_what_is_waited_for_is_logged_when_it_changes(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    rivals: list[Rival | None] = [RIVAL]
    runs, rule = cast(ServedRun, SimpleNamespace(rival=lambda: rivals[0])), TakeoverRule("validated")
    for unread in (3000, 2000):
        rule.verdict(runs, lambda unread=unread: replace(READY, has_caught_up=False, unread=unread))  # type: ignore[misc]
        assert rule.waits == f"it takes over when it has read 99 % of the log, and {unread:,} events are unread"
    rule.verdict(runs, lambda: of(0.9))
    assert "at most 5% above" in rule.waits
    rule.verdict(runs, lambda: READY)
    assert rule.waits == ""
    assert [" ".join(message.split()[:6]) for message in caplog.messages] == [
        "run bb is not served: it",
        "run bb is not served: it",
        "run bb is served from now",
    ]
    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING", "INFO"]
    rivals[0] = None
    assert rule.verdict(runs, lambda: pytest.fail("nothing to be compared with")) is None
