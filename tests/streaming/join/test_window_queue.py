from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.join.open_impression import OpenImpression
from streaming.join.window_queue import WindowQueue


@given(st.lists(st.tuples(st.integers(0, 20), st.booleans()), max_size=60))
def test_the_oldest_comes_first_whatever_the_order(steps: list[tuple[int, bool]]) -> None:
    waiting, model = WindowQueue(), list[OpenImpression]()
    for number, (time, push) in enumerate(steps):
        if push:
            shown = OpenImpression("A", time, "u", (), None, None, (), None, None, None, number=number)
            waiting.push(shown)
            model.append(shown)
            model.sort(key=lambda shown: (shown.time, shown.number))
        elif model:
            assert waiting.pop() is model.pop(0)
        assert list(waiting) == model
        assert waiting.first == (model[0].time if model else math.inf)
    assert [waiting.pop() for _ in model] == model
    with pytest.raises(IndexError):
        waiting.pop()
