"""For the whole suite."""

from hypothesis import settings

from tests.services.valkey import valkey_url  # noqa: F401  (a fixture)

# A busy machine is no failure: what is timed is timed in tests/benchmarks.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")
