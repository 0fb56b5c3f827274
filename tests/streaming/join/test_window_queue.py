from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.join.window_queue import Entry, WindowQueue


@given(st.lists(st.tuples(st.integers(0, 20), st.booleans()), max_size=60))
def test_the_oldest_comes_first_whatever_the_order(steps: list[tuple[int, bool]]) -> None:
    waiting, model = WindowQueue(), list[Entry]()
    for number, (time, push) in enumerate(steps):
        if push:
            waiting.push((time, number, str(number)))
            model.append((time, number, str(number)))
            model.sort()
        elif model:
            assert waiting.pop() == model.pop(0)
        assert list(waiting) == model
        assert waiting.first == (model[0][0] if model else math.inf)
    assert [waiting.pop() for _ in model] == model
    with pytest.raises(IndexError):
        waiting.pop()
