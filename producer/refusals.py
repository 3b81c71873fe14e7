"""Why Kafka or ClickHouse refuses a connection, in the words of the settings.

docs/security.md lists the causes. kafka-python only logs them, and raises no more than a time-out.
The same file in each service and in verify/; a test compares the copies.
"""

import logging
import re
import time
from collections.abc import Callable
from typing import Any

from kafka.net.transport import KafkaSSLTransport, KafkaTCPTransport

# What kafka-python says of a connection that failed, and what it means for the settings.
LOGIN_REFUSED = "Kafka refuses KAFKA_SASL_USERNAME or KAFKA_SASL_PASSWORD"
CAUSES = (
    ("SaslAuthenticationFailed", LOGIN_REFUSED),
    ("UnsupportedSaslMechanism", "Kafka does not offer this KAFKA_SASL_MECHANISM"),
    ("IllegalSaslState|SaslHandshake", "Kafka expects no login here: KAFKA_SECURITY_PROTOCOL"),
    ("certificate has expired", "Kafka's certificate has expired"),
    ("not valid for|mismatch", "Kafka's certificate is not for a host of KAFKA_BOOTSTRAP_SERVERS"),
    ("CERTIFICATE_VERIFY_FAILED", "Kafka's certificate is not signed by KAFKA_SSL_CAFILE"),
    ("alert|ALERT", "Kafka does not accept KAFKA_SSL_CERTFILE, or asks for one"),
    ("WRONG_VERSION|RECORD_LAYER|EOF", "Kafka speaks no TLS here: KAFKA_SECURITY_PROTOCOL"),
    (
        "bootstrap.*(socket disconnected|Invalid frame)",
        "Kafka hangs up: does KAFKA_SECURITY_PROTOCOL fit this port?",
    ),
)
CLICKHOUSE_SETTINGS = (
    ("CERTIFICATE_VERIFY_FAILED", "CLICKHOUSE_CAFILE"),
    ("WRONG_VERSION_NUMBER|RECORD_LAYER", "CLICKHOUSE_SECURE or CLICKHOUSE_PORT"),
)
SEE = " (docs/security.md)"
REMEMBER_SEC = 10

Receive = Callable[[KafkaTCPTransport], tuple[bytes, Exception | None]]
RECEIVE: dict[Any, Receive] = {
    transport: transport._sock_recv for transport in (KafkaTCPTransport, KafkaSSLTransport)
}


class Refused(Exception):
    """Kafka does not let this user in, or not do this; the text is one line that says so.

    kafka-python 3.0.12 never tries to log in again; a new client does.
    """


class LastRefusal(logging.Handler):
    """The cause of the last failed connection."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.cause = ""
        self.at_sec = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        text = f"{record.getMessage()} {record.args!r}"
        causes = (cause for pattern, cause in CAUSES if re.search(pattern, text))
        if cause := next(causes, ""):
            self.cause, self.at_sec = cause, time.monotonic()


_last = LastRefusal()


def data_first(receive: Receive) -> Receive:
    """Take what a broker has sent before it hung up, such as the refusal of a login.

    kafka-python 3.0.12 forgets it, if both arrive together, and tries the login again and again.
    """

    def receive_data_first(transport: KafkaTCPTransport) -> tuple[bytes, Exception | None]:
        data, error = receive(transport)
        return data, None if data else error

    return receive_data_first


def watch_connections() -> None:
    """Remember the causes from now on."""
    for transport, receive in RECEIVE.items():
        transport._sock_recv = data_first(receive)
    connections = logging.getLogger("kafka.net")
    connections.setLevel(logging.ERROR)
    connections.propagate = False
    connections.addHandler(_last)  # does nothing if it is there already


def why() -> str:
    """The end of a line that says that a service waits for Kafka: the cause, if it is known."""
    is_recent = time.monotonic() - _last.at_sec < REMEMBER_SEC
    return f": {_last.cause}" if _last.cause and is_recent else ""


def denied(what: str) -> Refused:
    """What to raise instead of an AuthorizationError; `what` is "topic NAME" or "group NAME"."""
    return Refused(f"Kafka's ACLs give this user too few rights to {what}{SEE}")


def no_topic(topic: str, servers: str) -> str:
    """Why a topic is not in the list that Kafka gives this user."""
    return f"no topic {topic} at {servers}, or Kafka's ACLs hide it from this user{SEE}"


def of_clickhouse(reason: str) -> str:
    """What ClickHouse's client says, with the setting that it is about, if it is about TLS."""
    settings = (name for pattern, name in CLICKHOUSE_SETTINGS if re.search(pattern, reason))
    return " ".join([reason, *(f"({name})" for name in settings)])


def raise_if_login_refused() -> None:
    """Raises Refused, however long ago it was: kafka-python may not have tried again since."""
    if _last.cause == LOGIN_REFUSED:
        raise Refused(LOGIN_REFUSED)
