"""The fields of the two towers, and the embedding tables that are the towers' own."""

from __future__ import annotations

from dataclasses import replace

from recsys.errors import InvalidValueError
from serving.model.artefact import USER_TABLE
from streaming.encode.feature_spec import FeatureSpec, Field

ITEM_TABLE = "retrieval_item_"
"""What the names of the item tower's tables begin with. Servers do not read them: items are published as vectors."""


class TowerFields:
    """`user` has the request's fields of `spec`, `item` those of the item, with the towers' tables.

    `key` is the field with the item's id. Raises InvalidValueError if it is missing, or any field of the request, or if
    the stream computes a field of the item: its vector, once published, would not change with time.
    """

    def __init__(self, spec: FeatureSpec) -> None:
        if counted := [field.source for field in spec.fields if field.of_item and field.streamed]:
            raise InvalidValueError(
                f"retrieval by two towers cannot read {', '.join(counted)}: it changes with time, and an item's vector "
                "does not. Delete these features.fields, or set retrieval.two_tower = false"
            )
        user = [_moved(field, USER_TABLE) for field in spec.fields if not field.of_item]
        item = [_moved(field, ITEM_TABLE) for field in spec.fields if field.of_item]
        key = spec.item_key
        if not user or key is None:
            missing = "source `user` or another one of the request" if key else "kind categorical and source `item`"
            raise InvalidValueError(f"retrieval by two towers needs a field of {missing}: add one to features.fields")
        self.user, self.item = FeatureSpec(tuple(user)), FeatureSpec(tuple(item))
        self.key = key

    @property
    def tables(self) -> dict[str, str]:
        """By name of a tower's table, the ranker's table with the same ids."""
        fields = ((prefix, field) for prefix, spec in self._sides for field in spec.sparse)
        return {field.table: field.table.removeprefix(prefix) for prefix, field in fields}

    @property
    def _sides(self) -> tuple[tuple[str, FeatureSpec], ...]:
        return (USER_TABLE, self.user), (ITEM_TABLE, self.item)


def _moved(field: Field, prefix: str) -> Field:
    """The field with the tower's table; towers know no candidate, so that histories are pooled by their mean."""
    return field if field.kind == "numeric" else replace(field, table=prefix + field.table, pooling="mean")
