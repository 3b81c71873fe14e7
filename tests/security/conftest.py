"""The pipeline on a Kafka that has TLS, logins and rights."""

from dataclasses import replace

import pytest

from pipeline import Pipeline
from secured_pipeline import SecuredPipeline
from stack import Stack

pytest_plugins = ["stack_fixtures"]


@pytest.fixture(scope="session")
def stack(stack: Stack) -> Stack:
    return replace(stack, secure=True)


@pytest.fixture
def pipeline(pipeline: Pipeline) -> SecuredPipeline:
    return SecuredPipeline(pipeline.stack)
