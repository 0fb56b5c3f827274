"""The section `[retrieval]`: the two-tower model that finds candidates."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from recsys.config.sections.learning.models import Sizes
from recsys.config.sections.learning.ssl import SslSection
from recsys.config.sections.section import Count, Positive, Section, error_at


class RetrievalSection(Section):
    """A model of user and item vectors, learned beside the ranker from the same clicks."""

    two_tower: bool = False
    """Whether it is learned, published and asked for candidates. Its embedding tables are its own."""
    dim: Annotated[int, Field(ge=1, le=256)] = 16
    """Of its embedding rows."""
    vector: Annotated[int, Field(ge=2, le=512)] = 32
    """Coordinates of the vectors of users and items."""
    layers: Sizes = (64,)
    """Hidden sizes of each tower; () for a linear one."""
    temperature: Positive = 0.1
    """Divides the cosines in the softmax."""
    lr: Positive = 0.003
    """Of the towers' dense weights. Rows learn at `training.sparse_lr`."""
    negatives: Annotated[int, Field(ge=0, le=65_536)] = 128
    """Items drawn uniformly in each step, beside the clicked ones of the batch."""
    hard_negatives: Annotated[int, Field(ge=0, le=4_096)] = 0
    """Items in each step, beside those, that the model itself finds nearest to users of the batch; 0: none."""
    hard_from: Annotated[int, Field(ge=1, le=65_536)] = 1_024
    """Items drawn uniformly in each step from which these are chosen: one pass of the item's tower over so many."""
    pool: Count = 16_384
    """Most shown items remembered to draw them from."""
    correction: bool = True
    """Whether logits are corrected by how often an item is a negative."""
    ssl: SslSection = SslSection()

    @property
    def description(self) -> dict[str, Any] | None:
        """What decides the meaning of the weights and the size of what is saved; None without the model."""
        return self.model_dump(mode="json", include={"dim", "vector", "layers", "pool"}) if self.two_tower else None

    @model_validator(mode="after")
    def _effective(self) -> Self:
        for name, field in type(self).model_fields.items():
            if not self.two_tower and getattr(self, name) != field.default:
                raise error_at((name,), "has no effect while two_tower is false. Set two_tower = true, or delete it")
        if self.hard_negatives > self.hard_from:
            raise error_at(
                ("hard_negatives",), f"{self.hard_negatives} cannot be chosen from hard_from = {self.hard_from}"
            )
        if not self.hard_negatives and self.hard_from != type(self).model_fields["hard_from"].default:
            raise error_at(("hard_from",), "has no effect without hard_negatives. Set those, or delete it")
        drawn = self.negatives or self.hard_negatives or self.ssl.on
        if not drawn and self.pool != type(self).model_fields["pool"].default:
            raise error_at(("pool",), "has no effect without negatives drawn from it. Set negatives, or delete it")
        return self
