"""Options of Spark's Kafka source and sink, which pass them on to Kafka's Java clients."""

from settings import Settings

LOGIN_MODULES = {
    "PLAIN": "org.apache.kafka.common.security.plain.PlainLoginModule",
    "SCRAM-SHA-256": "org.apache.kafka.common.security.scram.ScramLoginModule",
    "SCRAM-SHA-512": "org.apache.kafka.common.security.scram.ScramLoginModule",
}


def kafka_options(settings: Settings) -> dict[str, str]:
    """Where Kafka is and how to log in: option -> value, for source and sink.

    The files are read here, so executors on other machines need none of them.
    """
    options = {
        "bootstrap.servers": settings.kafka_bootstrap_servers,
        "security.protocol": settings.kafka_security_protocol,
        "request.timeout.ms": "10000",  # a connection that is silent for longer is given up
    }
    if mechanism := settings.kafka_sasl_mechanism:
        options["sasl.mechanism"] = mechanism
        options["sasl.jaas.config"] = jaas_line(settings)
    if settings.kafka_ssl_cafile:
        options["ssl.truststore.type"] = "PEM"
        options["ssl.truststore.certificates"] = settings.kafka_ssl_cafile.read_text()
    if settings.kafka_ssl_certfile and settings.kafka_ssl_keyfile:
        options["ssl.keystore.type"] = "PEM"
        options["ssl.keystore.certificate.chain"] = settings.kafka_ssl_certfile.read_text()
        options["ssl.keystore.key"] = settings.kafka_ssl_keyfile.read_text()
    return {f"kafka.{name}": value for name, value in options.items()}


def jaas_line(settings: Settings) -> str:
    """User and password in the form of Java's login modules.

    Kafka reads it with java.io.StreamTokenizer, to which a backslash in quotes is an escape.
    """
    assert settings.kafka_sasl_mechanism and settings.kafka_sasl_password
    module = LOGIN_MODULES[settings.kafka_sasl_mechanism]
    user, password = settings.kafka_sasl_username, settings.kafka_sasl_password.get_secret_value()
    return f"{module} required username={quoted(user)} password={quoted(password)};"


def quoted(text: str | None) -> str:
    escaped = (text or "").replace("\\", "\\\\").replace('"', '\\"')
    return '"' + escaped.replace("\n", "\\n").replace("\r", "\\r") + '"'
