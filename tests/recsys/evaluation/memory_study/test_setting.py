"""What is tried is what was written, and slips are told before anything runs."""

import pytest

from recsys.config.schema import Config
from recsys.evaluation.memory_study.setting import parse, unbounded, usual, with_sections

LIVE = {"user": 8000, "item": 50, "hour": 24}
CONFIG = Config.model_validate(
    {"features": {"tables": {"item": {"capacity": 70, "ttl": "2d", "admission": "count", "threshold": 5}}}}
)


def test_the_unbounded_store_forgets_nothing_whatever_is_configured() -> None:
    sections = unbounded.sections(CONFIG, LIVE)
    assert (sections["item"].capacity, sections["item"].ttl, sections["item"].admission) == (70, None, "always")
    assert sections["user"].capacity == CONFIG.features.defaults.capacity


def test_a_capacity_is_a_number_or_a_share_of_the_ids_there_are() -> None:
    assert parse("user.capacity=1/8", LIVE).sections(CONFIG, LIVE)["user"].capacity == 1000
    assert parse("user.capacity=123", LIVE).sections(CONFIG, LIVE)["user"].capacity == 123
    assert parse("user.capacity=0.25", LIVE).sections(CONFIG, LIVE)["user"].capacity == 2000
    assert parse("user.capacity=1/1", LIVE).sections(CONFIG, LIVE)["user"].capacity == 8000
    assert parse("item.capacity=1/100", LIVE).sections(CONFIG, LIVE)["item"].capacity == 1


def test_tables_that_nothing_was_said_about_hold_what_they_need() -> None:
    sections = parse("item.ttl=6h item.admission=count:3", LIVE).sections(CONFIG, LIVE)
    assert {name: section.capacity for name, section in sections.items()} == LIVE
    assert (sections["item"].ttl, sections["item"].admission, sections["item"].threshold) == (6 * 3_600_000, "count", 3)
    assert (sections["user"].ttl, sections["user"].admission) == (None, "always")


def test_the_configuration_changes_in_tables_and_seed_alone() -> None:
    sections = parse("user.ttl=1d", LIVE).sections(CONFIG, LIVE)
    changed = with_sections(CONFIG, sections, seed=7)
    assert changed.features.tables == sections
    assert changed.training.seed == 7
    assert changed.model == CONFIG.model
    assert changed.features.fields == CONFIG.features.fields


def test_the_usual_settings_are_of_the_table() -> None:
    assert {change.table for setting in usual("item") for change in setting.changes} == {"item"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("user.capacity", "TABLE.KEY=VALUE with a table of user, item, hour"),
        ("users.capacity=1/2", "'users.capacity=1/2' is not"),
        ("user.size=1/2", "a key of capacity, admission, ttl"),
        ("user.capacity=half", "'half' is not a valid capacity"),
        ("user.capacity=1/0", "'1/0' is not a valid capacity"),
        ("user.capacity=0", "'0' is not a valid capacity"),
        ("user.capacity=-1/2", "'-1/2' is not a valid capacity"),
        ("user.capacity=3/2", "'3/2' is not a valid capacity; .* at most 1/1"),
        ("user.capacity=1.5", "'1.5' is not a valid capacity"),
        ("user.ttl=6", "is positive, such as 6h"),
        ("user.ttl=0d", "'0d' is not a valid ttl; a time to live is positive"),
        ("user.admission=often", "'often' is not a valid admission"),
        ("user.admission=count", "'count' is not a valid admission; an admission is count:2"),
        ("user.admission=probabilistic", "'probabilistic' is not a valid admission"),
        ("user.admission=count:1", "count:1 would admit every id at once"),
        ("user.capacity=1/2 item.ttl=1d user.capacity=1/4", "sets user.capacity twice; write a --try for each value"),
        ("user.admission=count:0", "'count:0' is not a valid admission"),
        ("item.ttl=1d user.admission=count:x", "'count:x' is not a valid admission"),
    ],
)
def test_a_slip_is_told(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse(text, LIVE)
