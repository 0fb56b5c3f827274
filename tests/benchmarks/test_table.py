"""The page of benchmark results is made from the results."""

from benchmarks._table import PAGE, page


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run python -m benchmarks._table"
