from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.experiments.assignment import Arm, Experiment

AB = Experiment("ab", (Arm("control", "frozen"), Arm("treatment", "online")))


@given(st.text(min_size=1))
def test_an_arm_depends_on_salt_and_user_only(user: str) -> None:
    again = Experiment("other name", AB.arms, salt="ab")
    assert AB.arm(user) == again.arm(user)


def test_users_fall_to_arms_by_weight() -> None:
    split = Experiment("w", (Arm("a", weight=1), Arm("b", weight=2), Arm("c", weight=7)))
    seen = Counter(split.arm(f"user {i}").name for i in range(20_000))
    for name, share in (("a", 0.1), ("b", 0.2), ("c", 0.7)):
        assert abs(seen[name] / 20_000 - share) < 5 * (share * (1 - share) / 20_000) ** 0.5


def test_salts_split_independently() -> None:
    other = Experiment("ab", AB.arms, salt="another")
    both = Counter((AB.arm(f"{i}").name, other.arm(f"{i}").name) for i in range(10_000))
    assert all(abs(n / 10_000 - 0.25) < 0.025 for n in both.values())
    assert len(both) == 4


def test_growing_an_arm_moves_users_only_into_it() -> None:
    small = Experiment("g", (Arm("new", weight=1), Arm("old", weight=9)))
    large = Experiment("g", (Arm("new", weight=5), Arm("old", weight=5)))
    moves = Counter((small.arm(f"{i}").name, large.arm(f"{i}").name) for i in range(2000))
    assert ("new", "old") not in moves
    assert moves["old", "new"] > 0


USERS = [f"user {number}" for number in range(4000)]


def moves(before: Experiment, after: Experiment) -> Counter[tuple[str, str]]:
    """How many users change from one arm to another."""
    pairs = Counter((before.arm(user).name, after.arm(user).name) for user in USERS)
    return Counter({pair: count for pair, count in pairs.items() if pair[0] != pair[1]})


@pytest.mark.slow
@given(
    st.dictionaries(st.sampled_from("abcde"), st.floats(0.1, 10), min_size=1),
    st.dictionaries(st.sampled_from("abcde"), st.floats(0.1, 10), min_size=1),
)
@settings(max_examples=25)
def test_no_more_users_move_than_the_shares_demand(before: dict[str, float], after: dict[str, float]) -> None:
    """Of two arms whose weights relate as before, none moves from one to the other."""
    one, two = (
        Experiment("e", tuple(Arm(name, weight=weight) for name, weight in arms.items())) for arms in (before, after)
    )
    grown = {name: after.get(name, 0) / before[name] for name in before} | {
        name: float("inf") for name in after.keys() - before.keys()
    }
    for left, joined in moves(one, two):
        assert grown[left] < grown[joined]


def test_a_fourth_arm_takes_a_quarter_and_moves_nobody_else() -> None:
    three = Experiment("e", (Arm("a"), Arm("b"), Arm("c")))
    moved = moves(three, Experiment("e", (Arm("new"), *three.arms)))
    assert {joined for _, joined in moved} == {"new"}
    assert abs(sum(moved.values()) / len(USERS) - 0.25) < 0.04
    assert all(abs(count / len(USERS) - 1 / 12) < 0.025 for count in moved.values())


def test_the_order_of_arms_moves_nobody_and_is_the_same_split() -> None:
    turned = Experiment("ab", AB.arms[::-1])
    assert not moves(AB, turned)
    assert turned.allocation == AB.allocation


def test_what_makes_no_experiment_is_said() -> None:
    for arms, reason in (
        ((), "at least one arm"),
        ((Arm("a"), Arm("a")), "two arms have the same name"),
        ((Arm("a", weight=0),), "must be positive"),
        ((Arm("a:b"),), "':'"),
        ((Arm("a", "popularity", score={"click": 1.0}),), "arm 'a' ranks by popularity: delete its score"),
    ):
        with pytest.raises(ValueError, match=reason):
            Experiment("e", arms)


@pytest.mark.parametrize(
    "changed",
    [
        Experiment("ab", (Arm("control", "frozen", 2), Arm("treatment", "online"))),
        Experiment("ab", (Arm("control", "frozen"), Arm("treatment", "popularity"))),
        Experiment("ab", (Arm("control", "frozen"), Arm("other", "online"))),
        Experiment("ab", (*AB.arms, Arm("third"))),
        Experiment("ab", (AB.arms[0], Arm("treatment", "online", score={"click": 1.0, "buy": 0.3}))),
        Experiment("ab", AB.arms, salt="again"),
    ],
)
def test_another_split_is_another_allocation(changed: Experiment) -> None:
    assert changed.allocation != AB.allocation


def test_the_same_shares_are_the_same_allocation() -> None:
    doubled = Experiment("ab", (Arm("control", "frozen", 0.2), Arm("treatment", "online", 0.2)), salt="ab")
    assert doubled.allocation == AB.allocation
