"""A configuration for files, with a note on each guess."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from recsys.config.file import parse
from recsys.config.schema import Config
from recsys.errors import InvalidValueError
from recsys.proposal.files.first_records import COLUMNS
from recsys.proposal.files.groups import groups
from recsys.proposal.files.nested_rows import events_inside, unrolled
from recsys.proposal.files.row_kinds import row_kinds
from recsys.proposal.files.sample import Sample, read_sample
from recsys.proposal.first_model import first_model, small_steps
from recsys.proposal.mappings.events_of_lists import events_of_lists
from recsys.proposal.mappings.file_actions import add_file_actions
from recsys.proposal.mappings.links import link_to_lists, with_ids
from recsys.proposal.mappings.mapping import Described, Noted, ProposedMapping
from recsys.proposal.mappings.properties import as_properties, has_properties
from recsys.proposal.mappings.shape import mapping_of
from recsys.proposal.roles.counted_time import unplaced
from recsys.proposal.roles.feature_columns import Feature, event_features
from recsys.proposal.roles.role_finder import find_roles
from recsys.proposal.roles.roles import Roles, Said
from recsys.proposal.step_size import SMALLEST, shown_items
from recsys.proposal.wording.missing import beside, elsewhere, undone
from recsys.proposal.wording.open_questions import open_questions
from recsys.proposal.wording.toml_text import toml_text

_LISTED = 40
"""Most names of columns in a message."""


@dataclass(frozen=True)
class Proposal:
    """What was seen in the files, and the configuration that follows."""

    files: Sequence[Path]
    described: Sequence[Described]
    mappings: Sequence[ProposedMapping]
    training: Mapping[str, Noted]
    fields: Sequence[Feature]
    model: Mapping[str, Noted] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The content of `recsys.toml`."""
        return toml_text(self.mappings, self.training, self.fields, self.model)

    @property
    def open_questions(self) -> list[str]:
        """What was decided without knowing, in sentences."""
        return list(open_questions(self.mappings, self.training))

    @property
    def short(self) -> bool:
        """Whether the log is learned in the smallest steps that suit its length: then epochs find more than one pass.

        Not of so few rows that their parts would say nothing.
        """
        size = self.training.get("batch_size")
        return size is not None and size.value == SMALLEST

    @property
    def label_further_on(self) -> bool:
        """Whether a label is the same in all of the first rows, and another one further on."""
        found = [(one.sample, one.roles.column("label")) for one in self.described]
        return any(column is not None and len(column.cells) > sample.rows for sample, column in found)

    def for_labels(self, count: int, rows: int) -> Proposal:
        """What learns so many shown items as all files have, if the first `rows` of them have `count`."""
        about = shown_items(self.files, count, rows)
        return replace(self, training={**self.training, **small_steps(about, len(self.fields))}, model=first_model())

    def waiting(self, wait: Noted) -> Proposal:
        """With a wait in which nearly all that was done with a list has come."""
        return replace(self, training={**self.training, "wait": wait})

    def config(self, path: Path) -> Config:
        """The configuration as if it stood in `path`."""
        return parse(self.text, path)


def propose(files: Sequence[Path], said: Said) -> Proposal:
    """A configuration that trains on the files.

    Raises InvalidValueError for a file that cannot be read, and where only the user knows what is missing.
    """
    described = describe(files, said)
    native = [one for one in described if one.sample.native]
    tables = [one for one in described if not one.sample.native]
    mapped = _mapped(tables, said)
    if not native and mapped and not any(one.positive for one in mapped):
        mapped = _mapped([events_of_lists(one, _about(said, one.sample)) or one for one in tables], said)
        if not any(one.positive for one in mapped):
            raise InvalidValueError(undone(mapped))
    return Proposal(files, described, mapped, _positive(native, mapped), _fields(native, mapped))


def describe(files: Sequence[Path], said: Said) -> list[Described]:
    """What the columns of each kind of file are. Raises InvalidValueError for one that cannot be read."""
    found = []
    for group in groups(files):
        whole = _sample(group.paths, 2 if len(files) == 1 else 1)
        for sample in [whole] if whole.native else row_kinds(whole):
            own = sample if sample.native else _unrolled(events_inside(sample), said)
            roles = Roles({}, None, []) if sample.native else find_roles(own, _about(said, own))
            found.append(Described(own, roles, group.pattern))
    if not found:
        raise InvalidValueError("the files are empty; give at least one that has rows")
    found = [as_properties(one, found) for one in found]
    for role, name in said.columns.items():
        if not any(name in one.sample.columns for one in found):
            has = "; ".join(f"{one.path} has {_names(one.sample)}" for one in found)
            raise InvalidValueError(f"--{role} {name}: there is no such column; {has}")
    return found


def _unrolled(sample: Sample, said: Said) -> Sample:
    """A row for each item, if the user says that lists are items with which something was done."""
    name = said.columns.get("item", "")
    return unrolled(sample, name) if any(isinstance(cell, list) for cell in sample.columns.get(name, ())) else sample


def _names(sample: Sample) -> str:
    names = list(sample.columns)
    if len(names) <= _LISTED:
        return ", ".join(names)
    more = " that are looked at: let the file have fewer" if len(names) == COLUMNS else ""
    return f"{', '.join(names[:_LISTED])} and {len(names) - _LISTED} others{more}"


def _sample(paths: Sequence[Path], least: int) -> Sample:
    """Of the first file that has rows."""
    for path in paths[:-1]:
        try:
            return read_sample(path, least)
        except InvalidValueError:
            continue
    return read_sample(paths[-1], least)


def _about(said: Said, sample: Sample) -> Said:
    """What of it is about the columns of this file."""
    columns = {role: name for role, name in said.columns.items() if name in sample.columns}
    return replace(said, columns=columns)


def _mapped(described: Sequence[Described], said: Said) -> list[ProposedMapping]:
    lists = [one for one in described if "shown" in one.roles and "clicked" not in one.roles]
    properties = [one for one in described if has_properties(one, described)]
    events = [one for one in described if one not in lists and one not in properties]
    names: list[str] = []
    more: list[Described] = []
    for one in events:
        linked = bool(lists) and "marked" not in one.roles and "clicked" not in one.roles
        try:
            n, ids, name = link_to_lists(one, lists) if linked else (0, "", "")
        except InvalidValueError:
            if [of.path for of in lists] != [one.path] or "user" not in one.roles:
                raise
            more += [other for other in (events_of_lists(of, _about(said, of.sample)) for of in lists) if other]
            lists, linked, name = [], False, ""
        if linked:
            lists[n] = with_ids(lists[n], ids)
        names.append(name)
    made = [mapping_of(one, "", said) for one in lists]
    for one, name in [*zip(events, names, strict=True), *((one, "") for one in more)]:
        try:
            made.append(mapping_of(one, name, said))
        except InvalidValueError as error:
            told = beside(one, described) or (
                "" if one.roles.reading or said.start or unplaced(one.roles.others) else elsewhere(one)
            )
            raise InvalidValueError(f"{error}{told}") from None
    add_file_actions(made)
    first = _day_before([one.of.roles.reading.span[0] for one in made if one.of.roles.reading is not None])
    for one in properties:
        mapping = mapping_of(one, "", replace(said, start=first or said.start))
        if "start" in mapping.settings:
            mapping.settings["start"] = Noted(mapping.settings["start"].value, "holds from before the first event on")
            mapping.settings["interval"] = Noted("0ms")
        made.append(mapping)
    return made


def _day_before(times: Sequence[int]) -> str:
    if not times:
        return ""
    return datetime.fromtimestamp(min(times) // 1000 - 86_400, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _positive(native: Sequence[Described], mapped: Sequence[ProposedMapping]) -> dict[str, Noted]:
    """The settings of `[training]`."""
    found: dict[str, Noted] = {}
    actions = [action for one in mapped if one.positive for action in one.positive.value]
    notes = [one.positive.note for one in mapped if one.positive and one.positive.note]
    if native:
        seen = {str(cell) for one in native for cell in one.sample.columns.get("action", ()) if cell}
        actions += sorted(seen) if seen and "click" not in seen else ["click"]
    found["positive"] = Noted(list(dict.fromkeys(actions)) or ["click"], "; ".join(dict.fromkeys(notes)))
    for one in mapped:
        if one.min_value:
            found["min_value"] = one.min_value
    return found


def _fields(native: Sequence[Described], mapped: Sequence[ProposedMapping]) -> list[Feature]:
    """The fields of all files, each name once; of events as they are, those of their features."""
    found = {feature.name: feature for one in mapped for feature in one.features}
    for one in native:
        found |= {feature.name: feature for feature in event_features(one.sample.columns)}
    return list(found.values())
