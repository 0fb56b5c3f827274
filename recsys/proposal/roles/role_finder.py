"""Which column is what, by names first and by values where those say nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from recsys.errors import InvalidValueError
from recsys.proposal.columns.column import Column
from recsys.proposal.columns.label_words import yes_words
from recsys.proposal.columns.likeness import FALSE, chosen_of, depends, identifies, names_things, one_truth, two_valued
from recsys.proposal.columns.time_columns import TimeReading
from recsys.proposal.columns.vocabulary import (
    ACTIONS,
    AFTER,
    CLEARLY,
    HISTORY,
    POSITION,
    Role,
    known,
    says,
    seen_share,
    tokens,
)
from recsys.proposal.files.further import further_cells
from recsys.proposal.files.sample import Sample
from recsys.proposal.roles.label_finder import check_clean, check_words, find_labels, property_of_any, yes_of
from recsys.proposal.roles.roles import IDENTIFIERS, Guess, Roles, Said
from recsys.proposal.roles.time_finder import find_time, time_of_day

_MARKED: Final = re.compile(r".+-[01]")
_MOST_ACTIONS: Final = 40
_OF_ANOTHER: Final = 1.0
"""How clearly `verified_purchase` says a label: beside a rating, which says what the user thought, it is none."""


def find_roles(sample: Sample, said: Said) -> Roles:
    """What the columns of a sample are. Raises InvalidValueError if what the user says is not so, or needed."""
    finder = _Finder(sample, said)
    finder.time()
    finder.lists()
    finder.outcomes()
    finder.action()
    finder.late_label()
    finder.identifiers()
    finder.unnamed()
    return Roles(finder.found, finder.reading, list(finder.left.values()))


class _Finder:
    """Assigns roles in order; each column gets at most one."""

    def __init__(self, sample: Sample, said: Said) -> None:
        columns = [Column(name, cells) for name, cells in sample.columns.items()]
        where = sample.settings.get("where", {})
        told = [name for name, words in where.items() if isinstance(words, str)]  # has been used up
        named = [one for one in columns if one.name.strip() and one.name not in told]
        self.left = {one.name: one for one in named if one.type != "empty"}
        self.found: dict[str, list[Guess]] = {}
        self.reading: TimeReading | None = None
        self._headerless = all(name.isdigit() for name in sample.columns)
        self._sample, self._said = sample, said
        for role, name in said.columns.items():
            if name in self.left and role == "label":
                column = self._further(self.left[name])
                self._give(role, column, said.reason, yes_of(column, said.positive, sample.path))
            elif name in self.left and role != "time":
                self._give(role, self.left[name], said.reason)

    def _further(self, column: Column) -> Column:
        """With cells from further on, if it has one value in the first rows."""
        more = further_cells(self._sample, column.name) if len(column.distinct) == 1 else []
        return Column(column.name, [*column.cells, *more])

    def _give(self, role: str, column: Column, reason: str, yes: Sequence[str] = ()) -> None:
        self.found.setdefault(role, []).append(Guess(column, reason, yes))
        del self.left[column.name]

    def time(self) -> None:
        named = self.left.get(self._said.columns.get("time", ""))
        columns = [named] if named is not None else list(self.left.values())
        found = find_time(columns, self._said, self._sample.path, asked=named is not None)
        if found is not None:
            column, self.reading = found
            doubt = f"; {self.reading.doubt}" if self.reading.doubt else ""
            self._give("time", column, f"its values are times ({self.reading.form}){doubt}")
            if clock := time_of_day(list(self.left.values()), self.reading):
                self._give("time_of_day", clock, "the time of the day")

    def lists(self) -> None:
        """Lists of shown items, and what of them was clicked."""
        held = [one for one in self.left.values() if one.elements]  # others are lists that are all empty
        lists = [one for one in held if one.listed and not HISTORY.intersection(tokens(one.name))]
        for column in lists:
            if all(_MARKED.fullmatch(element) for element in column.elements) and len(column.elements) > 1:
                self._give("marked", column, "its items end with -1 (clicked) or -0")
                return
        clicked = [one for one in lists if says("clicked", one.name) >= CLEARLY]
        clicked += [one for one in self._of("clicked", 2) if one not in clicked and one.type in ("list", "text")]
        lists = [one for one in lists if one not in clicked]
        plural = [one for one in held if one.name.lower() in ("items", "item_ids", "itemids", "shown")]
        for column in self._best("shown", [*lists, *(one for one in plural if one not in lists)]):
            if "item" not in self.found:
                self._give("shown", column, "lists of items")
                for other in clicked[:1]:
                    self._give("clicked", other, "items of the list that were clicked")
                for other in [one for one in self.left.values() if not clicked and chosen_of(one, column)][:1]:
                    self._give("clicked", other, "an item of the list in its row")

    def _best(self, role: Role, columns: Sequence[Column], least: float = 1.0) -> list[Column]:
        """The column whose name says the role most clearly; the first of equals."""
        scored = [(says(role, one.name), one) for one in columns if one.name in self.left]
        best = max((score for score, _ in scored), default=0.0)
        return [one for score, one in scored if score == best and best >= least][:1]

    def _of(self, role: Role, least: float) -> Iterator[Column]:
        return (one for one in self.left.values() if says(role, one.name) >= least)

    def outcomes(self) -> None:
        """What became of a shown item: 0/1 labels, or a rating."""
        if {"shown", "marked", "label"} & self.found.keys():
            return
        if not self._said.positive:
            check_clean(list(self.left.values()), self._sample.path)
        kinds = self._sample.settings.get("where", {})
        able = [one for one in self.left.values() if one.name not in kinds]  # which tells what happened, not whether
        numbers = [one for one in self.left.values() if one.numbers and len(one.distinct) > 1]
        ratings = [one for one in numbers if not one.continuous]
        ratings = self._of_events(ratings, able)
        rated = any(says("rating", one.name) == 3 and len(one.distinct) > 2 for one in ratings)
        for guess in find_labels(able, self._said, self._sample.path):
            if not rated or guess.reason == self._said.reason or says("label", guess.name) > _OF_ANOTHER:
                self._give("label", guess.column, guess.reason, guess.yes)
        if "label" in self.found:
            return
        for column in self._best("rating", ratings) or [one for one in numbers if seen_share(one.name)][:1]:
            self._give("rating", column, f"numbers from {min(column.numbers):g} to {max(column.numbers):g}")

    def _of_events(self, ratings: Sequence[Column], able: Sequence[Column]) -> list[Column]:
        """Ratings without those that are properties of the items, such as stars of hotels, if there may be a label."""
        others = [one for one in able if two_valued(one) and (says("label", one.name) or not known(one.name))]
        if all(property_of_any(one, able) for one in others):
            return list(ratings)
        return [one for one in ratings if not property_of_any(one, able, ("item",))]

    def action(self) -> None:
        named = []
        for column in self.left.values():
            words = {word for text in column.distinct for word in tokens(text)}
            kinds = column.type == "integer" and ("type" in column.name or says("action", column.name) == 3)
            repeated = len(column.distinct) <= min(_MOST_ACTIONS, max(1, len(column.values) // 2))
            if repeated and not column.listed and (ACTIONS & words or kinds):
                named.append(column)
        words_only = [one for one in named if one.type == "text"] if self._headerless else []
        for column in self._best("action", named) or words_only[:1]:
            self._give("action", column, f"{' / '.join(list(column.distinct)[:4])}")

    def late_label(self) -> None:
        """A label that is the same in all of the first rows. Raises InvalidValueError if it is so further on."""
        if {"shown", "marked", "label", "rating", "action"} & self.found.keys():
            return
        check_words(list(self.left.values()), self._sample.path)
        for column in self._best("label", [one for one in self.left.values() if one_truth(one)]):
            seen = self._further(column)
            if two_valued(seen) or yes_words(seen):
                why = f"only {column.texts[0]} in the first rows, and another value further on"
                self._give("label", seen, why, yes_words(seen))
            elif column.texts[0].lower() in FALSE and says("label", column.name) >= CLEARLY:
                raise InvalidValueError(
                    f"{self._sample.path}: {column.name!r} looks like the label and is {column.texts[0]} in all rows "
                    "that were looked at, from the first to the last, so that nothing says what was clicked; give a "
                    "file that has both, or name another column with --label"
                )

    def identifiers(self) -> None:
        for role in IDENTIFIERS:
            able = [one for one in self.left.values() if names_things(one) and role not in self.found]
            if role == "item" and ("shown" in self.found or "marked" in self.found):
                continue
            if role == "user":
                able = [one for one in able if identifies(one)]
            constant = [one for one in able if role == "item" and len(one.distinct) == 1]
            able = [one for one in able if one not in constant]
            least = 2.0 if role == "request" else 1.0
            for column in self._best(role, able, least) or self._best(role, constant, 3.0):
                self._give(role, column, "its name says so")
        self._alternative_user()
        if "request" not in self.found and {"shown", "marked"} & self.found.keys():
            unique = [one for one in self.left.values() if one.unique and tokens(one.name)[-1:] == ["id"]]
            for column in unique[:1]:
                self._give("request", column, "another value in each row")

    def _alternative_user(self) -> None:
        """Another column for the rows whose user is missing: an id by its name may have few values in a short file."""
        user = self.found.get("user", [])
        if not user or not user[0].column.missing or user[0].reason == self._said.reason:
            return
        holes = [n for n, cell in enumerate(user[0].column.cells) if user[0].column.is_missing(cell)]
        for column in [one for one in self._of("user", 1.0) if names_things(one)]:
            if not identifies(column) and tokens(column.name)[-1:] != ["id"]:
                continue
            if not any(column.is_missing(column.cells[n]) for n in holes):
                self._give("user", column, f"where {user[0].name!r} is missing")
                return

    def unnamed(self) -> None:
        """Roles by values alone, in files without names, or for the only column that is left."""
        if self._headerless and not {"label", "rating", "action", "marked"} & self.found.keys():
            self._unnamed_outcome()
        lists = "shown" in self.found or "marked" in self.found
        if lists and "request" not in self.found and self._headerless:
            for column in [one for one in self.left.values() if one.unique and names_things(one)][:1]:
                self._give("request", column, "another value in each row")
        wanted = [role for role in ("user", "item") if role not in self.found and not (lists and role == "item")]
        able = [one for one in self.left.values() if names_things(one) and len(one.distinct) > 2]
        whole = [one for one in able if one.type != "number"]  # others are places on earth, prices and such
        able = whole if len(whole) >= len(wanted) else able
        if not ("time" in self.found or self._said.start) or (not self._headerless and len(able) != len(wanted)):
            return
        if len(wanted) == 2 and len(able) > 1 and _product_numbers(able[0]) and not _product_numbers(able[1]):
            wanted.reverse()
        for role, column in zip(wanted, able, strict=False):
            if role == "user" and not self._headerless and not self._could_be_users(column):
                continue
            why = "by the usual order of such files: exchange them if it is not so"
            self._give(role, column, why if self._headerless else "no other column is left for it")

    def _could_be_users(self, column: Column) -> bool:
        """Whether a column that no name speaks for has values as users have: many, that come again, with any item."""
        items = [guess.column for guess in self.found.get("item", ())]
        known = any(depends(column, item) for item in items)
        other = (AFTER | POSITION).intersection(tokens(column.name))
        return identifies(column) and not (known or other)

    def _unnamed_outcome(self) -> None:
        for column in list(self.left.values()):
            if two_valued(column):
                self._give("label", column, "two different numbers")
                return
            levels = set(column.numbers)
            if 3 <= len(levels) <= 10 and min(levels) > 0 and max(levels) in (5, 10):
                self._give("rating", column, f"numbers from {min(levels):g} to {max(levels):g}")
                return


def _product_numbers(column: Column) -> bool:
    """Whether the values are numbers of products or books, as shops use them."""
    return all(re.fullmatch(r"B0[0-9A-Z]{8}|\d{9}[\dX]", text) for text in column.distinct)
