"""What the rows of a file are, and the mapping that says so."""

from __future__ import annotations

from recsys.errors import InvalidValueError
from recsys.proposal.columns.clock_columns import clock_format
from recsys.proposal.columns.column import Column
from recsys.proposal.mappings.adjacent_rows import neighbours_are_lists
from recsys.proposal.mappings.labels import add_labels
from recsys.proposal.mappings.mapping import Described, Noted, ProposedMapping
from recsys.proposal.roles.counted_time import unplaced
from recsys.proposal.roles.feature_columns import features
from recsys.proposal.roles.roles import Roles, Said
from streaming.ingest.mapping.column_mapping import NULLS


def mapping_of(one: Described, impression: str, said: Said) -> ProposedMapping:
    """The mapping of a file; `impression` is its column with ids of lists in another file, if there are such.

    Raises InvalidValueError where only the user knows what is missing.
    """
    roles = one.roles
    made = ProposedMapping(one, _kind(one, impression))
    made.settings |= {name: Noted(value) for name, value in one.sample.settings.items()}
    _time(made, said, impression)
    _identifiers(made, impression)
    add_labels(made)
    made.features = features(made.kind, roles)
    _features(made)
    _nulls(made)
    return made


def _kind(one: Described, impression: str) -> str:
    roles = one.roles
    if "shown" in roles or "marked" in roles:
        return "impression"
    if "item" not in roles:
        if "user" in roles and "label" not in roles and roles.column("user").unique:  # type: ignore[union-attr]
            return "user"
        raise InvalidValueError(f"{one.path}{_no_item(one)}")
    if impression:
        return "interaction"
    if "label" in roles or "rating" in roles:
        return "shown"
    if "user" in roles:
        return "feedback"
    if "request" in roles or not roles.column("item").unique:  # type: ignore[union-attr]
        raise InvalidValueError(f"{one.path}{_no_user(one)}")
    return "item"


def _no_item(one: Described) -> str:
    """What to do about a file without a column of items."""
    if all(name.isdigit() for name in one.sample.columns):
        return (
            " has columns without names; say what is in them, such as --user 1 --item 2 --time 3 --label 4"
            f"{'' if one.roles.reading else '; none has times: if the rows are in their order, --start 2024-01-01'}"
        )
    if one.sample.columns.keys() <= {"label", "qid"} | {name for name in one.sample.columns if name[0] == "#"}:
        return (
            " has numbers without names; say what stands where, and when the first row happened, such as "
            "--user #1 --item #2 --start 2024-01-01"
        )
    return f": no column looks like the item; name it with --item COLUMN, one of {', '.join(one.sample.columns)}"


def _no_user(one: Described) -> str:
    """What to do about a file of items without a column of users."""
    if "request" in one.roles:
        return (
            " has what was done with items of lists, and not the lists: give the file of the lists as well, or "
            "name the user with --user COLUMN"
        )
    return (
        ": no column looks like the user; name it with --user COLUMN (if the rows are properties of items, "
        "such as a name and a value in each, only a script can make them one row an item, with a column for each)"
    )


def _time(made: ProposedMapping, said: Said, impression: str) -> None:
    roles, start = made.of.roles, said.start
    if roles.reading is None:
        if made.kind == "interaction":
            raise InvalidValueError(
                f"{made.of.path}: no column has the times of the clicks; name it with --time COLUMN, or write the time "
                f"of their list into each row, by {impression!r}: only a script can do that"
            )
        if not start:
            raise InvalidValueError(f"{made.of.path}: {_needed(roles)}")
        made.settings["start"] = Noted(start, "the file has no times: its rows are taken to be a second apart")
        return
    made.add_column("time", roles.found["time"])
    if roles.reading.format:
        made.settings["time_format"] = Noted(roles.reading.format, f"such as {roles.column('time').texts[0]}")  # type: ignore[union-attr]
    elif roles.reading.unit != "ms":
        made.settings["time_unit"] = Noted(roles.reading.unit)
    if roles.reading.origin:
        made.settings["origin"] = Noted(
            said.origin, "you say so: what the times count from, or from when on they follow"
        )
    if clock := roles.column("time_of_day"):
        made.add_column("time_of_day", roles.found["time_of_day"])
        if form := clock_format(clock):
            made.settings["time_of_day_format"] = Noted(form, f"such as {clock.texts[0]}")


def _needed(roles: Roles) -> str:
    """What the user has to say of the times."""
    ordered = "if the rows stand in the order of time, say when the first one happened with --start 2024-01-01"
    if told := unplaced(roles.others):
        return f"{told}; or, {ordered}"
    return f"no column has times; name it with --time COLUMN, or, {ordered}"


def _identifiers(made: ProposedMapping, impression: str) -> None:
    roles, kind = made.of.roles, made.kind
    if kind == "interaction":
        made.columns["impression"] = Noted(impression, "has the ids of the lists")
    if kind in ("impression", "shown"):
        _list_id(made)
    if "user" in roles and kind not in ("interaction", "item"):
        made.add_column("user", roles.found["user"])
    items = roles.found.get("marked") or roles.found.get("shown")
    if kind == "impression" and items:
        made.add_column("items", items)
        _of_list(made, items[0].column, marked="marked" in roles)
    elif kind != "user" and "item" not in made.columns:
        made.add_column("item", roles.found["item"])
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
        made.add_column("id", roles.found["request"])
    elif made.kind == "impression":
        made.columns["id"] = Noted(_user_and_time(roles), "no column has ids of lists, so that user and time make one")
    elif "request" in roles:
        name = roles.names("request")[0]
        note = f"rows with one {name} are scattered, so that each is a list of its own (or: id, apart = true, --sort)"
        made.columns["item"] = Noted(roles.names("item")[0], note)
    elif neighbours_are_lists(roles):
        note = "neighbouring rows of one user and time are taken for one list; without this line each row is a list"
        made.columns["id"] = Noted(_user_and_time(roles), note)


def _user_and_time(roles: Roles) -> list[str]:
    return [name for role in ("user", "time", "time_of_day") for name in roles.names(role)[:1]]


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


def _features(made: ProposedMapping) -> None:
    """Map them; all lists of a mapping are cut at one separator, so that lists with another one are left out."""
    shown = made.of.roles.column("shown") or made.of.roles.column("marked") if made.kind == "impression" else None
    separators = [column.separator for column in ([shown] if shown else [])]
    separators += [one.column.separator for one in made.features if one.kind == "multi"]
    wanted = next(filter(None, separators), "")
    made.features = [one for one in made.features if one.kind != "multi" or one.column.separator in ("", wanted)]
    for feature in made.features:
        made.columns[feature.field] = Noted(feature.column.name)
        if feature.kind == "multi" and wanted not in ("", "|") and "separator" not in made.settings:
            made.settings["separator"] = Noted(wanted, f"between the values of {feature.column.name}")


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
