"""Lists that pandas and NumPy write into a cell."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from recsys.errors import InvalidValueError
from streaming.ingest.mapping.bracketed import bracketed, is_bracketed
from streaming.ingest.mapping.values import split

WORDS = st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1), max_size=6)


@pytest.mark.slow
@given(WORDS)
@example([" "])
def test_a_list_that_python_writes_comes_back(words: list[str]) -> None:
    assert bracketed(repr(words)) == [word.strip() for word in words]


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=6))
def test_numbers_come_back_as_their_text(numbers: list[int]) -> None:
    text = [str(number) for number in numbers]
    assert bracketed(repr(numbers)) == text
    assert bracketed(str(np.array(numbers))) == text
    assert bracketed(repr(list(np.array(numbers)))) == text


def test_a_frame_written_and_read_again_has_its_lists() -> None:
    frame = pd.DataFrame({"items": [["a b", "c"], [], ["d"]]})
    cells = pd.read_csv(pd.io.common.StringIO(frame.to_csv(index=False)))["items"]
    assert [split(cell, "|") for cell in cells] == frame["items"].tolist()


@pytest.mark.parametrize("cell", ["[[1, 2], [3]]", "[{'a': 1}]", "[1 2 ... 8 9]", "['a', {'b'}]"])
def test_what_has_no_plain_elements_is_refused(cell: str) -> None:
    assert is_bracketed(cell, "|")
    with pytest.raises(InvalidValueError, match=r"lists or objects|cut short"):
        bracketed(cell)


def test_lists_with_a_separator_stay_as_they_were() -> None:
    assert split("[a]|[b]", "|") == ["[a]", "[b]"]
    assert split("a| b", "|") == ["a", "b"]
