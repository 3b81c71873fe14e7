"""Python packages: in .venv what the project runs with, in .local/lint what `make lint` needs."""

import sys
from collections.abc import Sequence
from pathlib import Path

from paths import LOCAL, PROJECT, VENV
from setup.steps import Step, fingerprint, is_stamped, run

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
    return is_stamped(venv, "base", str(venv), sys.version) and not (venv / "unfinished").exists()


def is_installed(venv: Path, stamp: str, requirements: Sequence[Path]) -> bool:
    return is_usable(venv) and is_stamped(venv, stamp, *requirements)


def install(venv: Path, stamp: str, requirements: Sequence[Path], *options: str) -> None:
    """Install what the files list; make the virtual environment first if it is not usable."""
    if not is_usable(venv):
        run(sys.executable, "-m", "venv", "--clear", venv)
        (venv / "base").write_text(fingerprint(str(venv), sys.version))
    (venv / "unfinished").touch()
    pip(venv, "install", *options, *(word for path in requirements for word in ("-r", path)))
    (venv / stamp).write_text(fingerprint(*requirements))
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
