"""The console of real servers, over a real Redis."""

from tests.serving.api.conftest import log, publish, settings, start  # noqa: F401
