"""The Vendi score, against its definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.errors import InvalidValueError
from serving.ranking.diversity import categories
from serving.ranking.vendi import Floats, Variety, vendi_score
from streaming.events.schema import Value

ORDERS = (0.5, 1.0, 2.0, math.inf)
LISTS = st.lists(st.lists(st.sampled_from("abcdef"), max_size=3), min_size=1, max_size=8)


def by_definition(vectors_NF: Floats, order: float) -> float:
    """From all eigenvalues of the similarities over N, zeros among them."""
    shares = np.linalg.eigvalsh(vectors_NF @ vectors_NF.T / len(vectors_NF)).clip(0)
    if order == 1:
        return math.exp(-sum(share * math.log(share) for share in shares if share > 0))
    return 1 / max(shares) if order == math.inf else float((shares**order).sum() ** (1 / (1 - order)))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("items", [1, 4, 30])
def test_items_that_are_alike_are_one_and_others_are_as_many_as_they_are(items: int, order: float) -> None:
    assert vendi_score(np.ones((items, 1)), order) == pytest.approx(1)
    assert vendi_score(np.eye(items), order) == pytest.approx(items)


def test_two_halves_that_are_alike_are_two() -> None:
    assert vendi_score(categories(["a"] * 5 + ["b"] * 5).dense()) == pytest.approx(2)
    # 3 and 1 of 4: shares 3/4 and 1/4, so 4 / 3^(3/4)
    assert vendi_score(categories(["a", "a", "a", "b"]).dense()) == pytest.approx(4 / 3**0.75)
    assert vendi_score(categories(["a", "a", "a", "b"]).dense(), 2) == pytest.approx(1.6)
    assert vendi_score(categories(["a", "a", "a", "b"]).dense(), math.inf) == pytest.approx(4 / 3)


@given(LISTS)
def test_it_is_that_of_the_definition_whichever_product_is_smaller(values: list[Value]) -> None:
    vectors = categories(values).dense()
    found = [vendi_score(vectors, order) for order in ORDERS]
    assert found == pytest.approx([by_definition(vectors, order) for order in ORDERS], rel=1e-6)
    assert all(1 - 1e-9 <= score <= len(values) + 1e-9 for score in found)
    assert found == sorted(found, reverse=True) or found == pytest.approx(sorted(found, reverse=True))


@given(LISTS)
def test_gains_are_what_an_item_adds_to_the_score(values: list[Value]) -> None:
    variety, vectors = Variety(categories(values)), categories(values).dense()
    assert variety.score == 0
    for number in range(len(values)):
        before = vendi_score(vectors[:number], 2) or 1
        added = [vendi_score(np.vstack([vectors[:number], one]), 2) for one in vectors]
        np.testing.assert_allclose(variety.gains(), np.log(np.array(added) / before), atol=1e-9)
        variety.add(number)
        assert variety.score == pytest.approx(added[number])


def test_a_matrix_and_its_elements_give_the_same_similarities() -> None:
    for different in (2, 100):  # as a matrix; by the elements
        vectors = categories([*[f"a{n}" for n in range(different)], "a0", ["a0", "a1"]])
        whole = vectors.dense()
        for row, vector in enumerate(whole):
            assert vectors.similarities(row) == pytest.approx(whole @ vector)


def test_an_empty_list_holds_nothing() -> None:
    assert vendi_score(np.zeros((0, 3))) == 0


@pytest.mark.parametrize("order", [-1.0, math.nan])
def test_an_order_below_0_is_refused(order: float) -> None:
    with pytest.raises(InvalidValueError, match="0 or more"):
        vendi_score(np.eye(2), order)
