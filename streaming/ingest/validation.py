"""What an event must satisfy beyond its types."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from recsys.errors import InvalidValueError
from streaming.encode.feature_spec import FeatureSpec, Kind
from streaming.events.schema import LARGEST, Event, Features, Impression, ItemUpdate, UserUpdate, Value

MAX_LINE: Final = 1 << 20
"""Bytes of a line."""
MAX_FUTURE: Final = 5 * 60_000
"""Milliseconds after the clock."""
MAX_VALUES: Final = 10_000
"""Values of one feature that is a set: each costs a look-up at every ranking, some 7 microseconds."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What an event must satisfy beyond its types.

    `request` and `item` name the features that impressions, user updates and item updates may carry, with the kind
    (None: any kind). Other names are refused, or with `keep_unknown` accepted; without `request` and `item` every name
    and kind is. Bounds are in milliseconds and bytes.
    """

    max_future: int = MAX_FUTURE
    max_line: int = MAX_LINE
    request: Mapping[str, Kind | None] | None = None
    item: Mapping[str, Kind | None] | None = None
    keep_unknown: bool = False

    @staticmethod
    def of(
        spec: FeatureSpec,
        max_future: int = MAX_FUTURE,
        max_line: int = MAX_LINE,
        *,
        keep_unknown: bool = False,
        times: Iterable[str] = (),
    ) -> Rules:
        """Accept features that the model reads only in their kind, and others only with `keep_unknown`; `times` are
        features of items that are numbers, too."""
        known: dict[str, dict[str, Kind | None]] = {"request": {}, "item": dict.fromkeys(times, "numeric")}
        for entry in spec.fields:
            if entry.feature:
                known["item" if entry.of_item else "request"][entry.feature] = entry.kind
        return Rules(max_future, max_line, known["request"], known["item"], keep_unknown)

    def check(self, event: Event) -> None:
        """Check what the types of an event cannot express. Raises InvalidValueError with the field's name first."""
        if isinstance(event, Impression):
            check_impression(event, self)
        elif isinstance(event, UserUpdate) and self.request is not None:
            check_features("features", event.features.items(), self.request, self.keep_unknown)
        elif isinstance(event, ItemUpdate) and self.item is not None:
            check_features("features", event.features.items(), self.item, self.keep_unknown)


def check_impression(event: Impression, rules: Rules) -> None:
    """Check that lists have one entry per item, and that items are distinct. Raises InvalidValueError, field first."""
    count = len(event.items)
    check_items_differ(event.items)
    if event.scores and len(event.scores) != count:
        raise InvalidValueError(f"scores: {len(event.scores)} values for {count} items")
    if event.propensities and len(event.propensities) != count:
        raise InvalidValueError(f"propensities: {len(event.propensities)} values for {count} items")
    if event.propensities and not 0 < min(event.propensities) <= max(event.propensities) <= 1:
        raise InvalidValueError("propensities: a probability of being shown is above 0 and at most 1")
    check_request_features(count, event.features, event.item_features, rules)


def check_items_differ(items: Sequence[str]) -> None:
    """Raises InvalidValueError when an item occurs twice."""
    if len(set(items)) != len(items):
        twice, _ = Counter(items).most_common(1)[0]
        raise InvalidValueError(f"items: duplicate item {twice!r}; an interaction could not tell which one it means")


def check_request_features(
    count: int, features: Features, item_features: Mapping[str, Sequence[Value]], rules: Rules
) -> None:
    """Features of a request over `count` items. Raises InvalidValueError with the field's name first."""
    for name, column in item_features.items():
        if len(column) != count:
            raise InvalidValueError(f"item_features.{name}: {len(column)} values for {count} items")
    if rules.request is not None:
        check_features("features", features.items(), rules.request, rules.keep_unknown)
    if rules.item is not None:
        pairs = ((name, value) for name, column in item_features.items() for value in column)
        check_features("item_features", pairs, rules.item, rules.keep_unknown)


def check_item_feature(field: str, name: str, rules: Rules) -> None:
    """Raises InvalidValueError, `field` first, if no event may carry this feature of items, so that none has it."""
    if rules.item is not None and not rules.keep_unknown and name not in rules.item:
        known = ", ".join(sorted(rules.item)) or "none"
        raise InvalidValueError(f"{field}: unknown feature {name!r:.80} of items; known are {known}")


_KINDS: Final[dict[Kind, tuple[type, ...]]] = {
    "categorical": (str, int, bool, type(None)),
    "multi": (list, type(None)),
    "numeric": (int, float, type(None)),
}


def check_features(
    where: str, pairs: Iterable[tuple[str, Any]], known: Mapping[str, Kind | None], keep_unknown: bool
) -> None:
    """Check names and kinds of (name, value) pairs. Raises InvalidValueError with `where` and the name first."""
    for name, value in pairs:
        if name not in known:
            if keep_unknown:
                continue
            raise InvalidValueError(f"{where}.{name}: unknown feature; known are {', '.join(sorted(known)) or 'none'}")
        kind = known[name]
        if kind is not None and type(value) not in _KINDS[kind]:
            raise InvalidValueError(f"{where}.{name}: {value!r:.80} is not {kind}")
        if kind == "multi" and value is not None and len(value) > MAX_VALUES:
            raise InvalidValueError(f"{where}.{name}: {len(value):,} values; at most {MAX_VALUES:,} are accepted")
        if kind == "numeric" and value is not None and not abs(value) <= LARGEST:
            raise InvalidValueError(f"{where}.{name}: {value!r:.80} is not between -{LARGEST:g} and {LARGEST:g}")
