"""Each right of each service is needed: without it, one line says so."""

from collections.abc import Iterator

import pytest
from kafka import KafkaAdminClient
from kafka.admin import ACL

from secured import ACLS, rights
from secured_pipeline import SecuredPipeline
from waiting import eventually

pytestmark = pytest.mark.services

RIGHTS = [
    pytest.param(user, right, id=f"{user}: {right.operation.name} {right.resource_pattern}")
    for user in ACLS
    for right in rights(user)
]


@pytest.fixture
def admin(pipeline: SecuredPipeline) -> Iterator[KafkaAdminClient]:
    # When it starts, it creates the rights, too.
    eventually(lambda: pipeline.stack.pid("topics") == 0, "the service `topics` has ended")
    with KafkaAdminClient(bootstrap_servers=pipeline.bootstrap_servers) as admin:
        yield admin


@pytest.mark.parametrize(("user", "right"), RIGHTS)
def test_a_missing_right_is_named_in_one_line(
    pipeline: SecuredPipeline, admin: KafkaAdminClient, user: str, right: ACL
) -> None:
    admin.delete_acls([right])
    try:
        eventually(lambda: not is_known(admin, right), "the broker has noticed")
        with pipeline.running(user, pipeline.login(user)) as run:
            line = run.wait_for("Kafka's ACLs", deadline_sec=120)  # the job reads first
            assert f" {right.resource_pattern.resource_name} " in line
            assert line.endswith("(docs/security.md)")
            assert "Traceback" not in run.log()
    finally:
        admin.create_acls([right])
        eventually(lambda: is_known(admin, right), "the broker has noticed")


def is_known(admin: KafkaAdminClient, right: ACL) -> bool:
    rights, _ = admin.describe_acls(right)
    return bool(rights)
