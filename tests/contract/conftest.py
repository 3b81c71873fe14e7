"""What all tests of the contract share."""

import generated  # noqa: F401  how Hypothesis runs
