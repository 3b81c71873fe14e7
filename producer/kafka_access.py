"""How to reach Kafka and log in: settings with the same names everywhere, and their checks.

The same file in each service and in verify/; a test compares the copies.
"""

import reprlib
import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AfterValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, CliSuppress, SettingsConfigDict

from refusals import watch_connections

Loaded = TypeVar("Loaded", bound=BaseSettings)

FILE_SUFFIX = "_file"
PKCS_8_KEY = b"-----BEGIN PRIVATE KEY-----"  # the only form that Kafka's Java clients read
SASL = ("kafka_sasl_mechanism", "kafka_sasl_username", "kafka_sasl_password")
TLS = ("kafka_ssl_cafile", "kafka_ssl_certfile", "kafka_ssl_keyfile")
USED_WITH = {
    **dict.fromkeys(SASL, ("SASL_SSL", "SASL_PLAINTEXT")),
    **dict.fromkeys(TLS, ("SASL_SSL", "SSL")),
}


class SettingsError(ValueError):
    """A setting has a wrong value; the text is one line that names it and what is allowed."""


def readable(path: Path | None) -> Path | None:
    try:
        if path:
            path.read_bytes()
    except OSError as error:
        raise ValueError(error.strerror) from None
    return path


# Each type has a pattern or range, and a title that describes it in the error message.
Servers = Annotated[
    str, Field(pattern=r"^[^\s,]+:[0-9]+(,[^\s,]+:[0-9]+)*$", title="host:port[,host:port]")
]
Protocol = Annotated[
    Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"],
    Field(title="PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL"),
]
Mechanism = Annotated[
    Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None,
    Field(title="PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512"),
]
ReadableFile = Annotated[
    Path | None, AfterValidator(readable), Field(title="a file that this process can read")
]


class KafkaSettings(BaseSettings):
    """Where Kafka is and how it is secured. Settings that do not go together are refused."""

    model_config = SettingsConfigDict(
        env_ignore_empty=True, frozen=True, use_attribute_docstrings=True
    )

    kafka_bootstrap_servers: Servers = "localhost:9092"
    """Kafka brokers, separated by commas."""
    kafka_security_protocol: Protocol = "PLAINTEXT"
    """`SSL` encrypts, `SASL_PLAINTEXT` logs in, `SASL_SSL` does both."""
    kafka_sasl_mechanism: Mechanism = None
    """How to log in."""
    kafka_sasl_username: str | None = None
    """User to log in as."""
    kafka_sasl_password: CliSuppress[SecretStr | None] = None  # not among the flags of --help
    """Password of that user, never logged."""
    kafka_sasl_password_file: ReadableFile = None
    """File with that password, instead."""
    kafka_ssl_cafile: ReadableFile = None
    """Authorities (PEM) that may have signed the brokers' certificates. Empty: those of the
    system."""
    kafka_ssl_certfile: ReadableFile = None
    """Own certificate (PEM), for brokers that ask for one."""
    kafka_ssl_keyfile: ReadableFile = None
    """Its key (PEM, PKCS #8, without a passphrase)."""

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        """What a service logs at its start: the settings that have a value."""
        return [(name, value) for name, value in super().__repr_args__() if value is not None]

    @model_validator(mode="before")
    @classmethod
    def read_secrets(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Take each secret from its file if it has one, as Docker mounts secrets."""
        for name, path in [each for each in values.items() if each[0].endswith(FILE_SUFFIX)]:
            secret = name.removesuffix(FILE_SUFFIX)
            if secret not in cls.model_fields:
                continue
            if secret in values:
                raise ValueError(f"set {secret.upper()} or {name.upper()}, not both")
            try:
                values = {**values, secret: Path(path).read_text().removesuffix("\n")}
            except (OSError, UnicodeDecodeError):
                continue  # the file is a setting, too, and will be refused as one
        return values

    @model_validator(mode="after")
    def check_kafka(self) -> Self:
        protocol, given = self.kafka_security_protocol, self.model_dump(exclude_none=True)
        for name, protocols in USED_WITH.items():
            if name in given and protocol not in protocols:
                wanted = " or ".join(protocols)
                raise ValueError(
                    f"{name.upper()} requires KAFKA_SECURITY_PROTOCOL={wanted}, not {protocol}"
                )
        for name in SASL:
            if protocol in USED_WITH[name] and not given.get(name):
                raise ValueError(f"KAFKA_SECURITY_PROTOCOL={protocol} requires {name.upper()}")
        check_certificates("KAFKA_SSL", *(given.get(name) for name in TLS))
        return self


def check_certificates(
    prefix: str,
    cafile: Path | None,
    certfile: Path | None = None,
    keyfile: Path | None = None,
) -> None:
    """Raises ValueError with one line if these files cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if cafile:
            context.load_verify_locations(cafile)
    except ssl.SSLError:
        raise ValueError(f"{prefix}_CAFILE has no certificate in PEM form: {cafile}") from None
    if not certfile and not keyfile:
        return
    if not certfile or not keyfile:
        raise ValueError(f"{prefix}_CERTFILE and {prefix}_KEYFILE must be set together")
    if PKCS_8_KEY not in keyfile.read_bytes():
        raise ValueError(
            f"{prefix}_KEYFILE must be a PEM key in PKCS #8 form without a passphrase; to make one:"
            f" openssl pkcs8 -topk8 -nocrypt -in {keyfile} -out NEW_KEYFILE"
        )
    try:
        context.load_cert_chain(certfile, keyfile)
    except ssl.SSLError as error:
        raise ValueError(
            f"{prefix}_KEYFILE is not the key of the certificate in {prefix}_CERTFILE"
            f" ({error.reason or 'no certificate in PEM form'})"
        ) from None


def load(settings: type[Loaded], **arguments: Any) -> Loaded:
    """Read and check the environment; an empty variable counts as not set. Raises SettingsError.

    `arguments` are those of pydantic-settings, such as _cli_parse_args.
    """
    try:
        return settings(**arguments)
    except ValidationError as error:
        raise SettingsError(in_one_line(error, settings)) from None


def in_one_line(error: ValidationError, settings: type[BaseSettings]) -> str:
    """The first of the errors, without the value of a secret."""
    problem = error.errors()[0]
    if not problem["loc"]:  # settings that do not go together
        return str(problem["ctx"]["error"])
    name = str(problem["loc"][0])
    allowed = settings.model_fields[name].title
    return f"{name.upper()} must be {allowed}, not {reprlib.repr(problem['input'])}"


def security_options(settings: KafkaSettings) -> dict[str, Any]:
    """How a client of kafka-python is to connect; it reads the files at each connection."""
    watch_connections()
    password = settings.kafka_sasl_password
    return {
        "security_protocol": settings.kafka_security_protocol,
        "sasl_mechanism": settings.kafka_sasl_mechanism,
        "sasl_plain_username": settings.kafka_sasl_username,
        "sasl_plain_password": password.get_secret_value() if password else None,
        "ssl_cafile": settings.kafka_ssl_cafile,
        "ssl_certfile": settings.kafka_ssl_certfile,
        "ssl_keyfile": settings.kafka_ssl_keyfile,
        # 50 is the default; a login that is refused must not be tried so often.
        "reconnect_backoff_ms": 1000 if settings.kafka_sasl_mechanism else 50,
    }
