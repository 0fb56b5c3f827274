"""Which sources the stream computes, and what an error says of others."""

import pytest

from recsys.errors import InvalidValueError
from streaming.encode.feature_spec import Field
from streaming.windows.streamed_source import streamed_source


@pytest.mark.parametrize("text", ["item.count(click,10m)", "item.count( click , 10m )", "item.count(click, 10m)"])
def test_spaces_make_no_difference(text: str) -> None:
    assert Field("clicks", "numeric", text).source == "item.count(click, 10m)"


def test_each_form_is_read() -> None:
    found = [streamed_source(text) for text in ("user.count(buy, 7d)", "pair.last(click)", "item.rate(click, 24h)")]
    assert [one[:4] for one in found if one] == [
        ("user", "count", "buy", 7 * 86_400_000),
        ("pair", "last", "click", 0),
        ("item", "rate", "click", 86_400_000),
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("item.mean(click, 1h)", "no item.mean"),
        ("shop.count(click, 1h)", "no shop.count"),
        ("item.rate(click 1h)", "an action and a window"),
        ("item.last(click, 1h)", "an action"),
        ("item.count(click, 90s)", "'90s' is not whole minutes"),
        ("item.count(click, 400d)", "longer than 366d"),
        ("item.rate(impression, 1h)", "of another action"),
        ("user.recent", "user.count(ACTION, WINDOW)"),
        ("item.recent(click, 5)", "no item.recent"),
        ("user.recent(click)", "an action and a number of items, 1 to 1000"),
        ("user.recent(click, 0)", "1 to 1000"),
        ("user.recent(click, 1001)", "1 to 1000"),
        ("user.recent(click, 1h)", "1 to 1000"),
        ("user.recent(impression, 5)", "not of what they are shown"),
    ],
)
def test_a_wrong_source_is_an_error_with_the_forms_that_there_are(text: str, says: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        Field("f", "numeric", text)
    assert says in str(caught.value)
    assert "user.count(ACTION, WINDOW)" in str(caught.value)
    assert "field 'f'" in str(caught.value)


def test_what_the_stream_computes_is_a_number() -> None:
    with pytest.raises(InvalidValueError, match=r'write kind = "numeric"'):
        Field("f", "categorical", "item.count(click, 1h)")


def test_a_history_is_a_list_of_items() -> None:
    with pytest.raises(InvalidValueError, match=r'a list of items, not numeric: write kind = "multi"'):
        Field("seen", "numeric", "user.recent(click, 5)")
    history = Field("seen", "multi", "user.recent( click,5 )", table="item")
    assert (history.source, history.table, history.of_item) == ("user.recent(click, 5)", "item", False)


def test_a_feature_with_words_in_parentheses_is_a_feature() -> None:
    assert Field("price", "numeric", "item.price (eur)").feature == "price (eur)"
