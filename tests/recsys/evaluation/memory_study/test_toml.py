"""What is shown for `recsys.toml` is what was replayed."""

import tomllib

import pytest

from recsys.config.schema import Config
from recsys.evaluation.memory_study.setting import parse
from recsys.evaluation.memory_study.study_result import MeasuredSetting
from recsys.evaluation.memory_study.toml import sections
from recsys.evaluation.replay.replay_result import Gain

LIVE = {"user": 8000, "item": 50, "a.b": 9}
ALL = {"capacity", "admission", "threshold", "ttl", "fallback"}


def point_of(text: str, config: Config) -> MeasuredSetting:
    setting = parse(text, LIVE)
    told = {name: section.model_dump(mode="json") for name, section in setting.sections(config, LIVE).items()}
    return MeasuredSetting(setting.name, setting.family, told, [], Gain("unbounded", 0.0, None, None))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("user.capacity=1/8", {"user": {"capacity"}}),
        ("user.ttl=36h item.ttl=90s", {"user": {"ttl"}, "item": {"ttl"}}),
        ("user.admission=count:3", {"user": {"capacity", "admission", "threshold"}}),
        ("user.admission=probabilistic:3 user.ttl=1d", {"user": {"admission", "threshold", "ttl"}}),
        ("a.b.capacity=4", {"a.b": {"capacity"}}),
    ],
)
def test_the_sections_say_what_was_tried(text: str, said: dict[str, set[str]]) -> None:
    point = point_of(text, Config())
    written = tomllib.loads(sections(point))["features"]["tables"]
    assert {table: set(values) for table, values in written.items()} == said
    for table, values in written.items():
        section = type(Config().features.defaults).model_validate(values).model_dump(mode="json")
        assert {name: section[name] for name in values} == {name: point.settings[table][name] for name in values}


def test_the_fallback_of_the_table_stays() -> None:
    config = Config.model_validate(
        {"features": {"tables": {"user": {"fallback": "multiplexed", "admission": "count", "threshold": 2}}}}
    )
    assert 'fallback = "multiplexed"' in sections(point_of("user.admission=count:3", config))
