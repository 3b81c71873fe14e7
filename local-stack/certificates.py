"""A certificate authority of its own, and certificates that it has signed, as PEM files."""

from collections.abc import Iterable
from pathlib import Path

import trustme
from cryptography.hazmat.primitives import serialization

from ports import HOST


def make(folder: Path, server: str, clients: Iterable[str]) -> None:
    """Write ca.pem, and for each name NAME.crt, NAME.key and NAME.pem, which has both.

    The server's is for this machine; the subject of a client's is its name.
    """
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    authority.private_key_pem.write_to_path(str(folder / "ca.key"))
    write(folder / server, authority.issue_cert("localhost", HOST))
    for client in clients:
        write(folder / client, authority.issue_cert(client, common_name=client))


def write(path: Path, certificate: trustme.LeafCert) -> None:
    key = serialization.load_pem_private_key(certificate.private_key_pem.bytes(), password=None)
    # The only form that Kafka's Java clients and brokers read.
    key_pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    chain = b"".join(each.bytes() for each in certificate.cert_chain_pems)
    path.with_suffix(".key").write_bytes(key_pem)
    path.with_suffix(".crt").write_bytes(chain)
    path.with_suffix(".pem").write_bytes(key_pem + chain)
