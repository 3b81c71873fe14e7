"""How Hypothesis runs: a suite that uses it imports this module in its conftest.py."""

from hypothesis import HealthCheck, settings

# A busy machine may need any time for one example.
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")
