"""The application over a real Redis, asked without a network."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from serving.experiments import Arm, Experiment
from serving.publisher import Publisher
from serving.server import Settings, build
from streaming.codec import Rules, to_events
from streaming.encoder import Encoder
from streaming.events import Impression
from streaming.memory_log import MemoryLog
from tests.serving.fakes import SPEC, Graphs, artefact, delta, ids, rows
