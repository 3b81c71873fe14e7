"""Settings that cannot be right, and the line that refuses each: docs/security.md lists them."""

LOGIN = {
    "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
    "KAFKA_SASL_MECHANISM": "PLAIN",
    "KAFKA_SASL_USERNAME": "shop",
    "KAFKA_SASL_PASSWORD": "s3cret",
}
TLS = {"KAFKA_SECURITY_PROTOCOL": "SSL"}
NEEDS_SASL = "requires KAFKA_SECURITY_PROTOCOL=SASL_SSL or SASL_PLAINTEXT, not"
NEEDS_SSL = "requires KAFKA_SECURITY_PROTOCOL=SASL_SSL or SSL, not"
OTHER_KEY = "KAFKA_SSL_KEYFILE is not the key of the certificate in KAFKA_SSL_CERTFILE"
UNREADABLE = "must be a file that this process can read, not '/no/such/file'"


def without(name: str) -> dict[str, str]:
    return {key: value for key, value in LOGIN.items() if key != name}


WRONG = [
    (
        {"KAFKA_BOOTSTRAP_SERVERS": "kafka"},
        "KAFKA_BOOTSTRAP_SERVERS must be host:port[,host:port], not 'kafka'",
    ),
    (
        {"KAFKA_SECURITY_PROTOCOL": "TLS"},
        "KAFKA_SECURITY_PROTOCOL must be PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL, not 'TLS'",
    ),
    (
        {"KAFKA_SECURITY_PROTOCOL": "ssl"},
        "KAFKA_SECURITY_PROTOCOL must be PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL, not 'ssl'",
    ),
    (
        LOGIN | {"KAFKA_SASL_MECHANISM": "GSSAPI"},
        "KAFKA_SASL_MECHANISM must be PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512, not 'GSSAPI'",
    ),
    (
        without("KAFKA_SASL_MECHANISM"),
        "KAFKA_SECURITY_PROTOCOL=SASL_SSL requires KAFKA_SASL_MECHANISM",
    ),
    (
        without("KAFKA_SASL_USERNAME"),
        "KAFKA_SECURITY_PROTOCOL=SASL_SSL requires KAFKA_SASL_USERNAME",
    ),
    (
        without("KAFKA_SASL_PASSWORD"),
        "KAFKA_SECURITY_PROTOCOL=SASL_SSL requires KAFKA_SASL_PASSWORD",
    ),
    (
        LOGIN | {"KAFKA_SASL_PASSWORD": ""},
        "KAFKA_SECURITY_PROTOCOL=SASL_SSL requires KAFKA_SASL_PASSWORD",
    ),
    (
        LOGIN | {"KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT", "KAFKA_SASL_USERNAME": ""},
        "KAFKA_SECURITY_PROTOCOL=SASL_PLAINTEXT requires KAFKA_SASL_USERNAME",
    ),
    (without("KAFKA_SECURITY_PROTOCOL"), f"KAFKA_SASL_MECHANISM {NEEDS_SASL} PLAINTEXT"),
    (LOGIN | TLS, f"KAFKA_SASL_MECHANISM {NEEDS_SASL} SSL"),
    ({"KAFKA_SASL_USERNAME": "shop"}, f"KAFKA_SASL_USERNAME {NEEDS_SASL} PLAINTEXT"),
    ({"KAFKA_SASL_PASSWORD": "s3cret"}, f"KAFKA_SASL_PASSWORD {NEEDS_SASL} PLAINTEXT"),
    (
        LOGIN | {"KAFKA_SASL_PASSWORD_FILE": "ca.pem"},
        "set KAFKA_SASL_PASSWORD or KAFKA_SASL_PASSWORD_FILE, not both",
    ),
    (
        without("KAFKA_SASL_PASSWORD") | {"KAFKA_SASL_PASSWORD_FILE": "/no/such/file"},
        f"KAFKA_SASL_PASSWORD_FILE {UNREADABLE}",
    ),
    (
        without("KAFKA_SASL_PASSWORD") | {"KAFKA_SASL_PASSWORD_FILE": "empty"},
        "KAFKA_SECURITY_PROTOCOL=SASL_SSL requires KAFKA_SASL_PASSWORD",
    ),
    ({"KAFKA_SSL_CAFILE": "ca.pem"}, f"KAFKA_SSL_CAFILE {NEEDS_SSL} PLAINTEXT"),
    (
        LOGIN | {"KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT", "KAFKA_SSL_CAFILE": "ca.pem"},
        f"KAFKA_SSL_CAFILE {NEEDS_SSL} SASL_PLAINTEXT",
    ),
    (TLS | {"KAFKA_SSL_CAFILE": "/no/such/file"}, f"KAFKA_SSL_CAFILE {UNREADABLE}"),
    (TLS | {"KAFKA_SSL_CAFILE": "empty"}, "KAFKA_SSL_CAFILE has no certificate in PEM form: empty"),
    (TLS | {"KAFKA_SSL_CERTFILE": "/no/such/file"}, f"KAFKA_SSL_CERTFILE {UNREADABLE}"),
    (
        TLS | {"KAFKA_SSL_CERTFILE": "shop.crt"},
        "KAFKA_SSL_CERTFILE and KAFKA_SSL_KEYFILE must be set together",
    ),
    (
        TLS | {"KAFKA_SSL_KEYFILE": "shop.key"},
        "KAFKA_SSL_CERTFILE and KAFKA_SSL_KEYFILE must be set together",
    ),
    (
        TLS | {"KAFKA_SSL_CERTFILE": "shop.crt", "KAFKA_SSL_KEYFILE": "other.key"},
        f"{OTHER_KEY} (KEY_VALUES_MISMATCH)",
    ),
    (
        TLS | {"KAFKA_SSL_CERTFILE": "empty", "KAFKA_SSL_KEYFILE": "shop.key"},
        f"{OTHER_KEY} (no certificate in PEM form)",
    ),
    *(
        (
            TLS | {"KAFKA_SSL_CERTFILE": "shop.crt", "KAFKA_SSL_KEYFILE": key},
            "KAFKA_SSL_KEYFILE must be a PEM key in PKCS #8 form without a passphrase; to make one:"
            f" openssl pkcs8 -topk8 -nocrypt -in {key} -out NEW_KEYFILE",
        )
        for key in ("passphrase.key", "old.key", "shop.crt")
    ),
]

# What only Kafka can tell -> what the line says of it.
NOT_LET_IN = "Kafka refuses KAFKA_SASL_USERNAME or KAFKA_SASL_PASSWORD"
NOT_SIGNED = "Kafka's certificate is not signed by KAFKA_SSL_CAFILE"
NO_TLS = "Kafka speaks no TLS here: KAFKA_SECURITY_PROTOCOL"
NO_LOGIN = "Kafka expects no login here: KAFKA_SECURITY_PROTOCOL"
HANGS_UP = "Kafka hangs up: does KAFKA_SECURITY_PROTOCOL fit this port?"
REFUSED = {
    "wrong password, SCRAM": NOT_LET_IN,
    "wrong password, PLAIN": NOT_LET_IN,
    "unknown user": NOT_LET_IN,
    "certificate of another authority": NOT_SIGNED,
    "certificate of an authority that the system does not know": NOT_SIGNED,
    "client certificate of another authority": "Kafka does not accept KAFKA_SSL_CERTFILE",
    "PLAINTEXT at a TLS port": HANGS_UP,
    "SASL_PLAINTEXT at a TLS port": HANGS_UP,
    "SSL at a port without TLS": NO_TLS,
    "SASL_SSL at a port without TLS": NO_TLS,
    "SSL at a port where users log in": HANGS_UP,
    "SASL_SSL at a port without logins": NO_LOGIN,
}
