"""Further tasks that the model learns beside the first one, `click`, which `[training]` defines."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from recsys.config.sections.section import Positive, Section
from recsys.config.units import Duration

CLICK = "click"
"""Name of the first task."""


class TaskSection(Section):
    """One task: which interactions make its label positive."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$", description="letters of English, digits, _ and -")]
    actions: Annotated[list[str], Field(min_length=1)]
    """Actions that make its label positive."""
    min_value: float | None = None
    """An action with a smaller value makes the label negative."""
    wait: Duration
    """How long (event time) a shown item waits for such an interaction before its label is negative."""
    weight: Positive = 1.0
    """Of its loss; that of the first task is 1."""
