"""The project's name, which keeps it apart from others on the same services."""

from __future__ import annotations

import re

from pydantic import field_validator

from recsys.config.sections.section import Section
from recsys.errors import InvalidValueError
from serving.replication.keys import PROJECT

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")


class ProjectSection(Section):
    """Apart from others that use the same Redis, Kafka and Prometheus."""

    name: str = PROJECT
    """What all keys in Redis begin with. One of your own is also put before the topic in Kafka (`shop.events`) and is
    the label `project` of `target_info` in metrics. Another name is another project, which begins with nothing."""

    @property
    def own_name(self) -> str:
        """The name that somebody gave it, empty of the default project."""
        return "" if self.name == PROJECT else self.name

    @field_validator("name")
    @classmethod
    def _can_be_a_part_of_keys(cls, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise InvalidValueError(
                f"{name!r} cannot be a project: write up to 40 small letters, digits, '_' and '-', such as shop"
            )
        return name
