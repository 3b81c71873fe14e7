"""The set-up, as far as it can be judged without downloading anything."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import install
from paths import LOCAL_STACK, PROJECT
from setup import clickhouse_library, java, packages
from setup.steps import SetupError, Step, fingerprint, is_stamped, set_up


def fake_java(folder: Path, version: int) -> str:
    java = folder / "java"
    java.write_text(
        f"#!/bin/sh\nprintf '    java.home = /opt/java\\n"
        f"    java.specification.version = {version}\\n' >&2\n"
    )
    java.chmod(0o755)
    return str(java)


def requirements(file: Path) -> dict[str, str]:
    """Package -> version, both as written."""
    return dict(re.findall(r"^([\w-]+)==(\S+)", file.read_text(), re.MULTILINE))


def test_only_a_java_that_is_new_enough_is_used(tmp_path: Path) -> None:
    assert java.java_home(fake_java(tmp_path, 21)) == "/opt/java"
    assert java.java_home(fake_java(tmp_path, 11)) is None
    assert java.java_home(str(tmp_path / "missing")) is None


def test_a_machine_without_a_clickhouse_library_is_told_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")

    with pytest.raises(SetupError, match="no ClickHouse library for .* on riscv64"):
        clickhouse_library.package()
    assert install.main([]) == 1
    assert "setup: there is no ClickHouse library" in capsys.readouterr().err


def test_a_stamp_is_valid_until_its_sources_change(tmp_path: Path) -> None:
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("kafka-python==3.0.12")
    assert not is_stamped(tmp_path, "stamp", requirements)

    (tmp_path / "stamp").write_text(fingerprint(requirements))
    assert is_stamped(tmp_path, "stamp", requirements)

    requirements.write_text("kafka-python==3.0.13")
    assert not is_stamped(tmp_path, "stamp", requirements)


def test_a_virtual_environment_that_pip_left_half_way_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "base").write_text(fingerprint(str(tmp_path), sys.version))
    assert packages.is_usable(tmp_path)

    (tmp_path / "unfinished").touch()
    assert not packages.is_usable(tmp_path)


def test_only_missing_steps_are_made() -> None:
    made = list[str]()
    present = Step("present", 0, lambda: True, lambda: made.append("present"))
    missing = Step("missing", 0, lambda: False, lambda: made.append("missing"))

    set_up([present, missing], workers=2)

    assert made == ["missing"]


def test_nothing_is_installed_if_the_disk_is_too_small() -> None:
    step = Step("everything", 10**9, lambda: False, lambda: pytest.fail("it was made"))

    with pytest.raises(SetupError, match="about 1000000000 MB of disk are needed"):
        set_up([step], workers=1)


def test_lint_needs_only_its_own_step(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made = list[list[Step]]()
    monkeypatch.setattr(install, "set_up", lambda steps, workers: made.append(steps))
    monkeypatch.setattr("platform.machine", lambda: "riscv64")  # nor a ClickHouse library

    assert install.main(["--lint"]) == 0
    assert made == [[packages.LINT_STEP]]


def test_lint_checks_against_the_versions_that_the_services_run_with() -> None:
    for_lint = requirements(PROJECT / "tests" / "lint-requirements.txt")
    of_job = requirements(PROJECT / "spark-job" / "requirements.txt")
    installed = {
        name: version
        for file in packages.LINT_REQUIREMENTS
        for name, version in requirements(file).items()
    }

    assert for_lint["pyspark-client"] == of_job["pyspark"]
    assert (
        installed.items()
        >= {
            name: version for name, version in of_job.items() if name not in ("pyspark", "py4j")
        }.items()
    )


def test_a_python_that_is_too_old_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.version_info = (3, 9)")

    result = subprocess.run(
        [sys.executable, LOCAL_STACK / "install.py"],
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )

    assert (result.returncode, result.stderr) == (
        1,
        "setup: Python 3.11 or newer is needed, this is 3.9;"
        " choose another Python with: make PYTHON=python3.12\n",
    )
