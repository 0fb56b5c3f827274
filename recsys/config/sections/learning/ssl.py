"""`[retrieval.ssl]`: self-supervision of items, beside the loss of clicks."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from recsys.config.sections.section import Positive, Section, error_at


class SslSection(Section):
    """Two views of the same item, each without a part of its fields, are drawn together and other items apart."""

    method: Literal["none", "spread_out", "rfm", "cfm"] = "none"
    """What tells views apart: fields masked at random, correlated fields masked together; or no views, only spread."""
    share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Of the item's fields that the first view masks; the second masks all others."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Chance of each value of a multi-valued field to be left out of a view."""
    temperature: Positive = 0.1
    """Divides the cosines in the softmax."""
    weight: Annotated[float, Field(ge=0)] = 0.1
    """Of this loss beside the loss of clicks; 0 for the same bits as without it."""
    batch: Annotated[int, Field(ge=2, le=65_536)] = 128
    """Items drawn uniformly in each step."""

    @property
    def on(self) -> bool:
        return self.method != "none" and self.weight > 0

    @property
    def masks(self) -> bool:
        return self.method in ("rfm", "cfm")

    @model_validator(mode="after")
    def _effective(self) -> Self:
        for name, field in type(self).model_fields.items():
            changed = name != "method" and getattr(self, name) != field.default
            if changed and self.method == "none":
                raise error_at(
                    (name,), 'has no effect with method = "none". Write rfm, cfm or spread_out, or delete it'
                )
            if changed and not self.masks and name in ("share", "dropout", "temperature"):
                raise error_at((name,), 'has no effect with method = "spread_out". Write rfm or cfm, or delete it')
        return self

    def problem(self, fields: int, multi: bool) -> tuple[str, str] | None:
        """A setting that an item with so many fields has no use for, and what to do; `multi`: one has many values."""
        least = {"rfm": 2, "cfm": 4}.get(self.method, 0)
        if fields < least:
            instead = "rfm" if fields >= 2 else "spread_out"
            return "method", (
                f"{self.method} needs {least} fields of the item, of which there are {fields}: "
                f"add some to features.fields, or write {instead}"
            )
        if self.dropout and not multi:
            return "dropout", "has no effect without a field of the item of kind multi: add one, or delete it"
        return None
