"""The pipeline of real services, for the tests of crashes."""

pytest_plugins = ["stack_fixtures"]
