"""Python packages: in .venv what the project runs with, in .local/lint what `make lint` needs."""

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from paths import LOCAL, PROJECT, VENV
from setup.steps import Step, is_stamped, run, write_stamp

FOLDERS = ("producer", "clickhouse-consumer", "spark-job", "local-stack", "tests")
REQUIREMENTS = [PROJECT / folder / "requirements.txt" for folder in FOLDERS]
SPARK_REQUIREMENTS = [PROJECT / "spark-job" / "requirements.txt"]

LINT = LOCAL / "lint"
# The packages that the checked code imports, without the large ones.
LINT_REQUIREMENTS = [
    PROJECT / "tests" / "lint-requirements.txt",
    PROJECT / "producer" / "requirements.txt",
    PROJECT / "clickhouse-consumer" / "requirements.txt",
    PROJECT / "local-stack" / "requirements.txt",
]


def is_usable(venv: Path) -> bool:
    """Made by this Python for this folder, and not left half-way by an interrupted pip."""
    has_python = os.access(venv / "bin" / "python", os.X_OK)
    is_from_here = is_stamped(venv / "base", str(venv), sys.version)
    return has_python and is_from_here and not (venv / "unfinished").exists()


def is_installed(venv: Path, stamp: str, requirements: Sequence[Path]) -> bool:
    return (
        is_usable(venv)
        and is_stamped(venv / stamp, *requirements)
        and listed(requirements) <= present(venv)
    )


def listed(requirements: Sequence[Path]) -> set[str]:
    """The packages in the files, as the names of the folders where pip keeps what it knows."""
    texts = [file.read_text(encoding="utf-8") for file in requirements]
    pins = re.findall(r"^([\w.-]+)==([^\s;#]+)", "\n".join(texts), re.MULTILINE)
    return {metadata_folder(f"{name}-{version}.dist-info") for name, version in pins}


def present(venv: Path) -> set[str]:
    found = venv.glob("lib/python3*/site-packages/*.dist-info")
    return {metadata_folder(path.name) for path in found}


def metadata_folder(name: str) -> str:
    return re.sub("[-_.]+", "-", name).lower()


def install(venv: Path, stamp: str, requirements: Sequence[Path], *options: str) -> None:
    """Install what the files list; make the virtual environment first if it is not usable."""
    if not is_usable(venv):
        run(sys.executable, "-m", "venv", "--clear", venv)
        write_stamp(venv / "base", str(venv), sys.version)
    (venv / "unfinished").touch()
    pip(venv, "install", *options, *(word for path in requirements for word in ("-r", path)))
    write_stamp(venv / stamp, *requirements)
    (venv / "unfinished").unlink()


def pip(venv: Path, *arguments: str | Path) -> None:
    python = venv / "bin" / "python"
    run(python, "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments)


SPARK_STEP = Step(
    "PySpark into .venv (420 MB to download)",
    600,
    lambda: is_installed(VENV, "spark", SPARK_REQUIREMENTS),
    lambda: install(VENV, "spark", SPARK_REQUIREMENTS),
)
PACKAGES_STEP = Step(
    "Python packages (350 MB)",
    1100,
    lambda: SPARK_STEP.is_done() and is_installed(VENV, "packages", REQUIREMENTS),
    lambda: install(VENV, "packages", REQUIREMENTS),
)
LINT_STEP = Step(
    "Packages for make lint (40 MB)",
    220,
    lambda: is_installed(LINT, "packages", LINT_REQUIREMENTS),
    # The files list all packages with all that they need. pyspark-client, which is here for its
    # type information, would need more.
    lambda: install(LINT, "packages", LINT_REQUIREMENTS, "--no-deps", "--no-compile"),
)
