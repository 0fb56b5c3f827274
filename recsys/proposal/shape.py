"""What the rows of a file are, and the mapping that says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from recsys.config.units import milliseconds
from recsys.errors import InvalidValueError
from recsys.proposal.columns.column import Column
from recsys.proposal.columns.vocabulary import NOT_POSITIVE, SHOWN_ACTIONS, tokens
from recsys.proposal.features import Feature, features
from recsys.proposal.files.sample import Sample
from recsys.proposal.roles import Guess, Roles
from streaming.ingest.mapping.column_mapping import NULLS

_ENOUGH: Final = 2000
"""Rows by which the gaps between events are judged."""


@dataclass(frozen=True)
class Noted:
    """A value of the configuration and why it is proposed."""

    value: Any
    note: str = ""


@dataclass(frozen=True)
class Described:
    """One kind of file: a sample of it, what its columns are, and the pattern of the paths that are alike."""

    sample: Sample
    roles: Roles
    pattern: str

    @property
    def path(self) -> Path:
        return self.sample.path


@dataclass
class ProposedMapping:
    """A `[[log.mapping]]` with notes, the features that it gives, and which actions make a label positive."""

    of: Described
    kind: str
    columns: dict[str, Noted] = field(default_factory=dict)
    settings: dict[str, Noted] = field(default_factory=dict)
    features: list[Feature] = field(default_factory=list)
    positive: Noted | None = None
    min_value: Noted | None = None

    def raw(self) -> dict[str, Any]:
        """As `recsys.config.log.Mapping` takes it."""
        columns = {name: noted.value for name, noted in self.columns.items()}
        settings = {name: noted.value for name, noted in self.settings.items()}
        return {"files": self.of.pattern, "kind": self.kind, **settings, "columns": columns}


def mapping_of(one: Described, impression: str, start: str) -> ProposedMapping:
    """The mapping of a file; `impression` is its column with ids of lists in another file, if there are such.

    Raises InvalidValueError where only the user knows what is missing.
    """
    roles = one.roles
    made = ProposedMapping(one, _kind(one, impression))
    made.settings |= {name: Noted(value) for name, value in one.sample.settings.items()}
    _time(made, start)
    _identifiers(made, impression)
    _outcomes(made)
    made.features = features(made.kind, roles)
    _features(made)
    _nulls(made)
    return made


def _kind(one: Described, impression: str) -> str:
    roles, path = one.roles, one.path
    if "shown" in roles or "marked" in roles:
        return "impression"
    if "item" not in roles:
        if "user" in roles and "label" not in roles:
            return "user"
        if all(name.isdigit() for name in one.sample.columns):
            raise InvalidValueError(
                f"{path} has columns without names; say what is in them, such as --user 1 --item 2 --time 3 --label 4"
            )
        has = ", ".join(one.sample.columns)
        raise InvalidValueError(f"{path}: no column looks like the item; name it with --item COLUMN, one of {has}")
    if impression:
        return "interaction"
    if "label" in roles or "rating" in roles:
        return "shown"
    if "user" in roles:
        return "feedback"
    if "request" in roles:
        raise InvalidValueError(
            f"{path} has what was done with items of lists, and not the lists: give the file of the lists as well, or "
            "name the user with --user COLUMN"
        )
    if not roles.column("item").unique:  # type: ignore[union-attr]
        raise InvalidValueError(f"{path}: no column looks like the user; name it with --user COLUMN")
    return "item"


def _time(made: ProposedMapping, start: str) -> None:
    roles = made.of.roles
    if roles.reading is None:
        if not start:
            raise InvalidValueError(
                f"{made.of.path}: no column has times; name it with --time COLUMN, or, if the rows stand in the order "
                "of time, say when the first one happened with --start 2024-01-01"
            )
        made.settings["start"] = Noted(start, "the file has no times: its rows are taken to be a second apart")
        return
    _column(made, "time", roles.found["time"])
    if roles.reading.format:
        made.settings["time_format"] = Noted(roles.reading.format, f"such as {roles.column('time').texts[0]}")  # type: ignore[union-attr]
    elif roles.reading.unit != "ms":
        made.settings["time_unit"] = Noted(roles.reading.unit)


def _column(made: ProposedMapping, name: str, guesses: Sequence[Guess]) -> None:
    names = [guess.name for guess in guesses]
    made.columns[name] = Noted(names[0] if len(names) == 1 else names, "; ".join(guess.reason for guess in guesses))


def _identifiers(made: ProposedMapping, impression: str) -> None:
    roles, kind = made.of.roles, made.kind
    if kind == "interaction":
        made.columns["impression"] = Noted(impression, "has the ids of the lists")
    if kind in ("impression", "shown"):
        _list_id(made)
    if "user" in roles and kind not in ("interaction", "item"):
        _column(made, "user", roles.found["user"])
    items = roles.found.get("marked") or roles.found.get("shown")
    if kind == "impression" and items:
        _column(made, "items", items)
        _of_list(made, items[0].column, marked="marked" in roles)
    elif kind != "user" and "item" not in made.columns:
        _column(made, "item", roles.found["item"])
    if kind in ("impression", "shown") and ("user" not in roles or _missing_user(roles)):
        note = "rows without a user" if "user" in roles else "no column looks like the user"
        made.settings["anonymous"] = Noted("request", f"{note}: each list gets a user of its own")


def _missing_user(roles: Roles) -> bool:
    columns = [guess.column for guess in roles.found["user"]]
    return any(all(one.is_missing(cell) for one, cell in zip(columns, row, strict=True))
               for row in zip(*(one.cells for one in columns), strict=True))  # fmt: skip


def _list_id(made: ProposedMapping) -> None:
    roles = made.of.roles
    if "request" in roles and (made.kind == "impression" or _together(roles.column("request"))):
        _column(made, "id", roles.found["request"])
    elif made.kind == "impression":
        names = [name for role in ("user", "time") for name in roles.names(role)[:1]]
        made.columns["id"] = Noted(names, "no column has ids of lists, so that user and time make one")
    elif "request" in roles:
        name = roles.names("request")[0]
        note = f"rows with one {name} stand apart, so that each is a list of its own (or: id, apart = true, --sort)"
        made.columns["item"] = Noted(roles.names("item")[0], note)


def _together(column: Column | None) -> bool:
    """Whether rows of one list are neighbours."""
    texts = column.texts if column is not None else []
    begins = sum(a != b for a, b in zip(texts, ["", *texts], strict=False))
    return bool(texts) and column is not None and not column.missing and begins == len(column.distinct)


def _of_list(made: ProposedMapping, items: Column, *, marked: bool) -> None:
    if items.separator and items.separator != "|":
        made.settings["separator"] = Noted(items.separator, "between the items of a list")
    if marked:
        made.settings["label_separator"] = Noted("-", "behind each item stands whether it was clicked")
        made.columns["actions.click"] = Noted(items.name, "the same list, for its labels")
    lists = [value if isinstance(value, list | tuple) else str(value).split(items.separator or "|")
             for value in items.values]  # fmt: skip
    if any(len({str(one).strip() for one in items_}) < len(items_) for items_ in lists):
        made.settings["repeated_items"] = Noted("first", "some lists have an item twice: its first place counts")


def _outcomes(made: ProposedMapping) -> None:
    roles = made.of.roles
    if "clicked" in roles:
        made.columns["actions.click"] = Noted(roles.names("clicked")[0], roles.found["clicked"][0].reason)
    if "marked" in roles or "clicked" in roles:
        made.positive = Noted(["click"])
    elif made.kind == "shown" and "label" in roles:
        _labels(made)
    elif "rating" in roles and made.kind in ("shown", "interaction", "feedback"):
        _rating(made)
    elif made.kind in ("interaction", "feedback"):
        _actions(made)
    if made.kind == "feedback":
        _pairs(made)


def _labels(made: ProposedMapping) -> None:
    labels = made.of.roles.found["label"]
    for guess in labels:
        made.columns[f"actions.{action_name(guess.name)}"] = Noted(guess.name, guess.reason)
    positive = action_name(labels[0].name)
    words = {text for guess in labels for text in guess.column.distinct}
    if not words <= {"0", "1", "-1", "True", "False", "true", "false"}:
        yes = sorted(word for word in words if word.lower() in ("true", "yes", "y", "t", "1"))
        made.settings["positive_values"] = Noted(yes, "what means yes")
    column = labels[0].column
    share = sum(value > 0 for value in column.numbers) / len(column.numbers)
    made.positive = Noted([positive], f"{share:.1%} of the rows")


def action_name(column: str) -> str:
    """The action that a column of labels tells: `click` for one that only says that it is the label."""
    words = [word for word in tokens(column) if word not in ("is", "has", "id", "label", "target", "y")]
    name = "_".join(words)
    return {"": "click", "clicked": "click", "clk": "click", "clicks": "click"}.get(
        name, "click" if name.isdigit() else name
    )


def _rating(made: ProposedMapping) -> None:
    rating = made.of.roles.column("rating")
    if rating is None:
        return
    made.columns["value"] = Noted(rating.name, made.of.roles.found["rating"][0].reason)
    if made.kind == "shown":
        made.columns["actions.rate"] = Noted(rating.name, "each row is a rating")
        if min(rating.numbers) <= 0:
            made.settings["positive_values"] = Noted(sorted(rating.distinct, key=float), "every rating is an action")
    elif made.kind == "interaction":
        made.columns.pop("action", None)
    threshold = _threshold(rating)
    share = sum(value >= threshold for value in rating.numbers) / len(rating.numbers)
    made.positive = Noted(["rate" if made.kind == "shown" else "click"])
    made.min_value = Noted(threshold, f"{share:.1%} of the ratings are as high; choose what counts as liking")


def _threshold(rating: Column) -> float:
    """Four fifths of the scale; less if nothing is as high, more if everything is."""
    low, high = min(rating.numbers), max(rating.numbers)
    wanted = 0.8 * high
    levels = sorted(level for level in set(rating.numbers) if level > low)
    return next((level for level in levels if level >= wanted), levels[-1])


def _pairs(made: ProposedMapping) -> None:
    """Wide enough that rows of a log with few events find a partner."""
    roles = made.of.roles
    if roles.reading is None:
        return
    times = sorted(map(roles.reading.reader, roles.column("time").values[:_ENOUGH]))  # type: ignore[union-attr]
    gaps = sorted(b - a for a, b in pairwise(times))
    usual = gaps[int(0.9 * (len(gaps) - 1))] if gaps else 0
    if 4 * usual > milliseconds("1h"):
        wide = next((span for span in ("1d", "7d", "30d") if milliseconds(span) >= 4 * usual), "365d")
        made.settings["negatives_within"] = Noted(wide, "events are rare: rows so far apart are shown together")


def _actions(made: ProposedMapping) -> None:
    roles = made.of.roles
    action = roles.column("action")
    if action is None:
        made.positive = Noted(["click"])
        return
    _column(made, "action", roles.found["action"])
    ranked = [text for text, _ in action.distinct.most_common()]
    chosen = [text for text in ranked if not (SHOWN_ACTIONS | NOT_POSITIVE).intersection(tokens(text))] or ranked
    counts = ", ".join(f"{text} {action.distinct[text]:,}" for text in ranked[:8])
    made.positive = Noted(chosen, f"in the first rows: {counts}; leave the ones that count")


def _features(made: ProposedMapping) -> None:
    for feature in made.features:
        made.columns[feature.field] = Noted(feature.column.name)
        if feature.kind == "multi" and feature.column.separator not in ("", "|") and "separator" not in made.settings:
            made.settings["separator"] = Noted(feature.column.separator, f"between the values of {feature.column.name}")


def _nulls(made: ProposedMapping) -> None:
    used = {
        name
        for noted in made.columns.values()
        for name in ([noted.value] if isinstance(noted.value, str) else noted.value)
    }
    columns = [Column(name, cells) for name, cells in made.of.sample.columns.items() if name in used]
    words = sorted(set().union(*(one.null_words for one in columns)))
    if words:
        made.settings["null_values"] = Noted([*NULLS, *words], f"{' and '.join(words)} among numbers")
