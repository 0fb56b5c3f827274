"""Who is in an experiment: users stay where they are, whatever grows; outside is the control, and nothing counts."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.experiments.assignment import Arm, Experiment
from serving.experiments.traffic import Holdout, Traffic

AB = Experiment("ab", (Arm("control", "frozen", score={"click": 1.0}), Arm("treatment", "online")))
USERS = [f"user {number}" for number in range(4000)]


def place(user: str, time: int = 0, experiment: Experiment = AB, held: float = 0.0) -> str:
    """The arm's name; empty outside."""
    return Traffic([experiment], Holdout(held)).place(user, time).arm.name


def share(names: list[str]) -> float:
    return sum(name != "" for name in names) / len(names)


def test_outside_a_request_gets_the_ranking_of_the_control_under_no_name() -> None:
    found = Traffic([replace(AB, end=5)], Holdout()).place("u", 5)
    assert (found.experiment, found.arm) == ("", Arm("", "frozen", score={"click": 1.0}))


def test_users_are_in_their_arms_between_start_and_end() -> None:
    limited = replace(AB, start=10, end=20)
    for user in USERS[:50]:
        names = [place(user, time, limited) for time in (9, 10, 19, 20)]
        assert names == ["", AB.arm(user).name, AB.arm(user).name, ""]


@settings(max_examples=30)
@given(st.sampled_from(USERS), st.lists(st.integers(0, 200), min_size=2).map(sorted), st.floats(0.01, 1))
def test_who_has_entered_stays_in_one_arm(user: str, times: list[int], part: float) -> None:
    names = [place(user, time, replace(AB, start=10, ramp=100, share=part)) for time in times]
    inside = [name for name in names if name]
    assert names == [""] * (len(names) - len(inside)) + [AB.arm(user).name] * len(inside)


def test_a_ramp_grows_evenly_to_the_share_and_divides_as_the_weights_say() -> None:
    ramped = replace(AB, start=100, ramp=100, share=0.8)
    for time, expected in ((99, 0.0), (100, 0.0), (150, 0.4), (200, 0.8), (999, 0.8)):
        names = [place(user, time, ramped) for user in USERS]
        assert share(names) == pytest.approx(expected, abs=0.03)
        if expected:
            assert names.count("treatment") / len(USERS) == pytest.approx(expected / 2, abs=0.03)


def test_weights_may_change_in_a_ramp_and_move_users_only_into_the_arm_that_grows() -> None:
    before = replace(AB, start=0, ramp=100)
    after = replace(before, arms=(AB.arms[0], Arm("treatment", "online", weight=3.0)))
    moves = Counter((place(user, 50, before), place(user, 60, after)) for user in USERS)
    assert {pair for pair in moves if pair[0] != pair[1]} == {
        ("control", "treatment"),
        ("", "control"),
        ("", "treatment"),
    }


def test_the_held_out_are_in_no_experiment_and_more_of_them_only_adds() -> None:
    other = Experiment("other", AB.arms)
    held = {user for user in USERS if not place(user, held=0.1)}
    assert len(held) / len(USERS) == pytest.approx(0.1, abs=0.02)
    assert held == {user for user in USERS if not place(user, 0, other, held=0.1)}
    assert held < {user for user in USERS if not place(user, held=0.2)}


def test_the_held_out_are_drawn_independently_of_arms_and_of_who_enters() -> None:
    half = replace(AB, share=0.5)
    counts = Counter((Holdout(0.5).has(user), place(user, 0, half)) for user in USERS)
    for (held, name), count in counts.items():
        expected = 0.25 if name == "" else 0.125
        assert count / len(USERS) == pytest.approx(expected, abs=0.03), (held, name)


def test_an_experiment_that_there_is_not_is_said() -> None:
    with pytest.raises(ValueError, match=r"unknown experiment 'x'; the experiments are \['ab'\]"):
        Traffic([AB], Holdout()).place("u", 0, "x")
