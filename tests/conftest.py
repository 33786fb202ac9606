"""Settings that every test shares."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# Tests say what is right, not how fast: a slow machine must not fail them. On CI the examples are
# the same each time, so that a red run can be repeated.
settings.register_profile(
    "lowbitc",
    deadline=None,
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("lowbitc")
