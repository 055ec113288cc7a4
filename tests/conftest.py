"""For the whole suite."""

from hypothesis import settings

# A busy machine is no failure: what is timed is timed in tests/benchmarks.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")
