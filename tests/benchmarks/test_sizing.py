from __future__ import annotations

from benchmarks._sizing import PAGE, Plan, page


def test_the_page_is_made_of_the_saved_figures() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run python -m benchmarks._sizing"


def test_memory_is_proportional_to_ids() -> None:
    one, ten = Plan(ids=1e8), Plan(ids=1e9)
    assert ten.redis_gib == 10 * one.redis_gib
    assert ten.disk_gib == 10 * one.disk_gib
    assert ten.trainer_gib < 10 * one.trainer_gib  # a process without rows takes some, too
