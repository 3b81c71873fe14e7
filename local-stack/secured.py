"""A secured Kafka: what `make local-up SECURE=1` adds to the stack.

The broker gets two more listeners: SASL_SSL, where users log in, and SSL, where their certificates
do. Each service has a user of its own, with the rights of ACLS and no others. Certificates and
passwords are made for this stack alone, in its folder `security`. The listener without security
stays, for the stack's own probes; who connects there may do everything.

As a program, in the place of topics.py: creates the users and their rights, then the topics.
"""

import os
import secrets
import shlex
import shutil
import sys
from pathlib import Path

from kafka import KafkaAdminClient
from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    ResourcePattern,
    ResourceType,
    UserScramCredentialUpsertion,
)

from paths import LOCAL_STACK
from ports import HOST, StackSettings

FOLDER = "security"
PROPERTIES = "{local_stack}/conf/kafka.properties"
LISTENERS = (
    f"PLAINTEXT://{HOST}:{{kafka_port}},SASL_SSL://{HOST}:{{kafka_sasl_port}}"
    f",SSL://{HOST}:{{kafka_ssl_port}}"
)
SECURED_PROPERTIES = """
ssl.keystore.type=PEM
ssl.keystore.location={folder}/broker.pem
ssl.truststore.type=PEM
ssl.truststore.location={folder}/ca.pem
listener.name.ssl.ssl.client.auth=requested
ssl.principal.mapping.rules=RULE:^CN=(.*?)(,.*)?$/$1/,DEFAULT
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
listener.name.sasl_ssl.plain.sasl.jaas.config={plain} {users};
listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config={scram};
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config={scram};
authorizer.class.name=kafka.security.authorizer.AclAuthorizer
super.users=User:ANONYMOUS
"""
LOGINS = "org.apache.kafka.common.security"
PLAIN = f"{LOGINS}.plain.PlainLoginModule required"
SCRAM = f"{LOGINS}.scram.ScramLoginModule required"
TOPIC, GROUP = ResourceType.TOPIC, ResourceType.GROUP
# All that each service may do. To READ, to WRITE and to ALTER include to DESCRIBE.
ACLS = {
    "topics": (
        (TOPIC, "transactions_raw", ACLOperation.CREATE),
        (TOPIC, "transactions_raw", ACLOperation.ALTER_CONFIGS),
        (TOPIC, "transactions_agg", ACLOperation.CREATE),
    ),
    "producer": ((TOPIC, "transactions_raw", ACLOperation.WRITE),),
    "spark-job": (
        (TOPIC, "transactions_raw", ACLOperation.READ),
        (TOPIC, "transactions_agg", ACLOperation.WRITE),
        (GROUP, "spark-job", ACLOperation.READ),
    ),
    "clickhouse-consumer": (
        (TOPIC, "transactions_agg", ACLOperation.READ),
        (GROUP, "clickhouse-consumer", ACLOperation.READ),
    ),
    "verify": ((TOPIC, "transactions_raw", ACLOperation.READ),),
}


def make_files(stack: StackSettings) -> None:
    """Everything that broker and services read; keys and passwords only if there are none yet."""
    folder = stack.directory / FOLDER
    if not folder.exists():
        make_secrets(folder)
    users = " ".join(f'user_{user}="{password(folder, user)}"' for user in ACLS)
    added = SECURED_PROPERTIES.format(folder=folder, users=users, plain=PLAIN, scram=SCRAM)
    base = (LOCAL_STACK / "conf" / "kafka.properties").read_text()
    (folder / "kafka.properties").write_text(base + added)
    for user in ACLS:
        lines = (f"{name}={shlex.quote(value)}\n" for name, value in login(user, stack).items())
        (folder / f"{user}.env").write_text("".join(lines))


def make_secrets(folder: Path) -> None:
    import certificates  # needs packages that other stacks do without

    unfinished = folder.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700, parents=True)
    certificates.make(unfinished, server="broker", clients=ACLS)
    for user in ACLS:
        (unfinished / f"{user}.password").write_text(secrets.token_urlsafe())
    unfinished.rename(folder)


def password(folder: Path, user: str) -> str:
    return (folder / f"{user}.password").read_text()


def command(service: str, usual: tuple[str, ...]) -> tuple[str, ...]:
    """The command of a service in a secured stack: that of broker and topics differs."""
    if service == "topics":
        return ("python", "{local_stack}/secured.py")
    if service != "kafka":
        return usual
    secured = (
        word.replace(PROPERTIES, f"{{directory}}/{FOLDER}/kafka.properties") for word in usual
    )
    overrides = (f"listeners={LISTENERS}", f"advertised.listeners={LISTENERS}")
    return (*secured, *(word for each in overrides for word in ("--override", each)))


def login(user: str, stack: StackSettings) -> dict[str, str]:
    """The variables with which a service logs in as `user`."""
    folder = stack.directory / FOLDER
    return {
        "KAFKA_BOOTSTRAP_SERVERS": f"{HOST}:{stack.kafka_sasl_port}",
        "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
        "KAFKA_SASL_USERNAME": user,
        "KAFKA_SASL_PASSWORD_FILE": str(folder / f"{user}.password"),
        "KAFKA_SSL_CAFILE": str(folder / "ca.pem"),
    }


def create_users(admin: KafkaAdminClient, folder: Path) -> None:
    """Users with the passwords of make_files, and their rights. Safe to repeat."""
    admin.alter_user_scram_credentials(
        [
            UserScramCredentialUpsertion(user, mechanism, password(folder, user))
            for user in ACLS
            for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512")
        ]
    )
    admin.create_acls([right for user in ACLS for right in rights(user)])


def rights(user: str) -> list[ACL]:
    return [
        ACL(f"User:{user}", "*", operation, ACLPermissionType.ALLOW, ResourcePattern(kind, name))
        for kind, name, operation in ACLS[user]
    ]


def main() -> int:
    stack = StackSettings.from_env(os.environ)
    import topics  # needs kafka_access, which only this program has on its path

    admin = topics.connect(f"{HOST}:{stack.kafka_port}")
    create_users(admin, stack.directory / FOLDER)
    admin.close()
    return topics.main()


if __name__ == "__main__":
    sys.exit(main())
