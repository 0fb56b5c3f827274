"""Applications over a real Redis, for faults that need no process of their own."""

from tests.serving.api.conftest import log, publish, settings, start  # noqa: F401
from tests.serving.conftest import client, redis_folder  # noqa: F401
