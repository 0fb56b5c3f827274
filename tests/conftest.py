"""Settings of all tests."""

from hypothesis import settings

settings.register_profile("recsys", deadline=None)  # tests assert behaviour, not how fast a busy machine is
settings.load_profile("recsys")
