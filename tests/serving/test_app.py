"""The application over a real Redis, asked without a network."""

from __future__ import annotations
