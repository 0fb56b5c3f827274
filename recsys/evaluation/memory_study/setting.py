"""A setting to try: other capacity, admission or time to live for some tables."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from recsys.config.schema import Config
from recsys.config.sections.features import TableSection
from recsys.errors import InvalidValueError

UNBOUNDED = "unbounded"
"""The name of the setting that keeps every id forever."""
KEYS = {
    "capacity": "a capacity is a number of ids such as 50000, or a share of the log's, 1/8 or 0.125, at most 1/1",
    "admission": "an admission is count:2 (to count:255; count:1 would admit every id at once) or probabilistic:4",
    "ttl": "a time to live is positive, such as 6h or 3d",
}
"""What can be set, with a hint on how to write it."""


@dataclass(frozen=True, slots=True)
class SettingChange:
    """One `TABLE.KEY=VALUE`."""

    table: str
    key: str
    value: str

    def settings(self, live: int) -> dict[str, Any]:
        """The setting in the table's section, for an unbounded store of `live` ids. Raises ValueError."""
        if self.key == "capacity" and not {"/", "."}.isdisjoint(self.value):
            return {"capacity": max(1, int(_share(self.value) * live))}
        kind, _, threshold = self.value.partition(":")
        named = {self.key: self.value} if self.key != "admission" else {"admission": kind, "threshold": threshold}
        section = TableSection.model_validate(named, strict=False)  # numbers are text here
        return {name: getattr(section, name) for name in named}


@dataclass(frozen=True, slots=True)
class Setting:
    """One point of a study.

    >>> setting = parse("user.capacity=1/8 item.ttl=1d", tables=["user", "item"])
    >>> setting.family
    'user.capacity item.ttl'
    >>> setting.sections(Config(), {"user": 8000, "item": 50})["item"].ttl
    86400000
    """

    name: str
    changes: tuple[SettingChange, ...]

    @property
    def family(self) -> str:
        """What is varied."""
        return " ".join(f"{change.table}.{change.key}" for change in self.changes)

    def sections(self, config: Config, live: Mapping[str, int]) -> dict[str, TableSection]:
        """Every table's settings. `live` are the ids of each table of the unbounded store.

        Tables without a given capacity get room for exactly these: a filter or an id table laid out for more would
        only cost memory.
        """
        sections = {name: _forgets_nothing(config, name) for name in live}
        if self.name == UNBOUNDED:
            return sections
        for name, ids in live.items():
            settings = {"capacity": max(1, ids)}
            for change in self.changes:
                settings |= change.settings(ids) if change.table == name else {}
            sections[name] = sections[name].model_copy(update=settings)
        return sections


unbounded = Setting(UNBOUNDED, ())


def parse(text: str, tables: Collection[str]) -> Setting:
    """`TABLE.KEY=VALUE ...` with the keys `capacity` (ids, or a share of the unbounded store's such as `1/8`), `ttl`
    (`6h`) and `admission` (`count:2`, `probabilistic:4`). Raises ValueError with what is wrong."""
    changes: list[SettingChange] = []
    for part in text.split():
        name, equals, value = part.partition("=")
        table, _, key = name.rpartition(".")
        if not equals or key not in KEYS or table not in tables:
            raise InvalidValueError(
                f"--try: {part!r} is not TABLE.KEY=VALUE with a table of {', '.join(tables)} and a key of "
                f"{', '.join(KEYS)}; try '{next(iter(tables), 'user')}.capacity=1/8'"
            )
        if any((table, key) == (change.table, change.key) for change in changes):
            raise InvalidValueError(f"--try: {text!r} sets {name} twice; write a --try for each value")
        changes.append(SettingChange(table, key, value))
        try:
            changes[-1].settings(live=1)
        except (ValueError, ZeroDivisionError):
            raise InvalidValueError(f"--try: {value!r} is not a valid {key}; {KEYS[key]}") from None
    if not changes:
        raise InvalidValueError("--try: an empty setting; try 'user.capacity=1/8'")
    return Setting(" ".join(text.split()), tuple(changes))


def usual(table: str) -> list[Setting]:
    """The settings to try by default, for the table that takes the most memory."""
    keys = ["capacity=1/2", "capacity=1/4", "capacity=1/8", "capacity=1/16", "admission=count:2", "ttl=1d", "ttl=3d"]
    return [parse(f"{table}.{key}", [table]) for key in keys]


def with_sections(config: Config, sections: Mapping[str, TableSection], seed: int) -> Config:
    """The configuration with these tables and this seed."""
    features = config.features.model_copy(update={"tables": dict(sections)})
    training = config.training.model_copy(update={"seed": seed})
    return config.model_copy(update={"features": features, "training": training})


def _share(text: str) -> Fraction:
    """Raises ValueError or ZeroDivisionError."""
    share = Fraction(text)
    if not 0 < share <= 1:
        raise InvalidValueError(f"a share is more than 0 and at most 1, got {text}")
    return share


def _forgets_nothing(config: Config, table: str) -> TableSection:
    section = config.features.tables.get(table, config.features.defaults)
    return section.model_copy(update={"ttl": None, "admission": "always", "threshold": 1})
