"""The pages of benchmark results are made from the results."""

from benchmarks._table import PAGE, STREAMING, page, streaming_page


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run python -m benchmarks._table"


def test_the_table_of_schemes_is_current() -> None:
    assert STREAMING.read_text(encoding="utf-8") == streaming_page(), "run python -m benchmarks._table"
