"""The set-up, as far as it can be judged without downloading anything."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import install
from paths import LOCAL_STACK, PROJECT
from setup import clickhouse_library, java, packages, steps
from setup.steps import SetupError, Step, is_stamped, set_up, write_stamp


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
    requirements, stamp = tmp_path / "requirements.txt", tmp_path / "stamp"
    requirements.write_text("kafka-python==3.0.12")
    assert not is_stamped(stamp, requirements)

    write_stamp(stamp, requirements)
    assert is_stamped(stamp, requirements)

    requirements.write_text("kafka-python==3.0.13")
    assert not is_stamped(stamp, requirements)


def test_a_step_is_done_only_while_its_files_are_there(tmp_path: Path) -> None:
    stamp, jars = tmp_path / "stamp", [tmp_path / "a 1.jar", tmp_path / "b.jar"]
    for jar in jars:
        jar.write_text("content")
    write_stamp(stamp, "source", made=jars)
    assert is_stamped(stamp, "source")

    jars[1].write_text("cut")
    assert not is_stamped(stamp, "source")
    jars[1].write_text("content")
    jars[0].unlink()
    assert not is_stamped(stamp, "source")
    stamp.write_text("")
    assert not is_stamped(stamp, "source")


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    """A virtual environment as the set-up makes it, with one package."""
    venv = tmp_path / "venv"
    package = venv / "lib" / "python3.11" / "site-packages" / "python_dateutil-4.0.0.dist-info"
    package.mkdir(parents=True)
    (venv / "bin").mkdir()
    (venv / "bin" / "python").symlink_to(sys.executable)
    write_stamp(venv / "base", str(venv), sys.version)
    return venv


def test_a_virtual_environment_that_pip_left_half_way_is_not_used(venv: Path) -> None:
    assert packages.is_usable(venv)

    (venv / "unfinished").touch()
    assert not packages.is_usable(venv)


def test_a_virtual_environment_without_its_python_is_not_used(venv: Path) -> None:
    (venv / "bin" / "python").unlink()
    (venv / "bin" / "python").symlink_to("/nowhere/python3")  # as after an upgrade of Python

    assert not packages.is_usable(venv)


def test_packages_are_installed_only_while_pip_knows_them(venv: Path, tmp_path: Path) -> None:
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("python-dateutil==4.0.0  # times\n")
    write_stamp(venv / "packages", requirements)
    assert packages.is_installed(venv, "packages", [requirements])

    (package,) = venv.glob("lib/*/*/*")
    package.rmdir()
    assert not packages.is_installed(venv, "packages", [requirements])


def test_a_java_that_does_not_run_is_not_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrapper = tmp_path / "bin" / "java"
    wrapper.parent.mkdir()
    wrapper.write_text(java.JAVA_WRAPPER)  # without the runtime that it runs
    wrapper.chmod(0o755)
    monkeypatch.setattr(java, "JAVA", wrapper)

    assert not java.JAVA_STEP.is_done()


def test_all_steps_are_done_after_the_set_up() -> None:
    missing = [step for step in (*install.FIRST_STEPS, *install.OTHER_STEPS) if not step.is_done()]

    assert missing == []


def set_up_in(project: Path) -> "subprocess.CompletedProcess[str]":
    """Run the set-up in a copy of the project that has nothing but the set-up."""
    shutil.copytree(LOCAL_STACK, project / "local-stack")
    return subprocess.run(
        [sys.executable, project / "local-stack" / "install.py"],
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("name", ["a:b", "{a}", "Smith, Jane", "no #1", "oh!", "a\nb", b"\xe4"])
def test_a_folder_that_cannot_be_used_is_refused_at_once(name: str | bytes, tmp_path: Path) -> None:
    project = tmp_path / os.fsdecode(name)
    result = set_up_in(project)

    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert result.stderr.startswith("setup: the folders of the project must be paths in UTF-8 ")
    assert [path.name for path in project.iterdir()] == ["local-stack"]


def test_a_folder_that_is_read_only_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / ".local").touch()  # no folder can be made there, not even by root
    result = set_up_in(tmp_path)

    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == f"setup: [Errno 20] Not a directory: '{tmp_path}/.local/setup.log'\n"
    assert not (tmp_path / ".venv").exists()


def test_nothing_is_written_if_nothing_is_missing(tmp_path: Path) -> None:
    """Not even the lock, so a project on a read-only disk can be used."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "TOOLS", tmp_path / "file" / "tools")
        (tmp_path / "file").touch()
        with steps.setup_lock():
            set_up([Step("present", 0, lambda: True, lambda: pytest.fail("made"))], workers=1)


def test_commands_of_the_set_up_do_not_depend_on_the_locale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "LOG", tmp_path / "setup.log")
    monkeypatch.setenv("LC_ALL", "C")

    steps.run(java.JAVA, "-XshowSettings:properties", "-version")

    log = (tmp_path / "setup.log").read_text(encoding="utf-8")
    assert "sun.jnu.encoding = UTF-8" in log
    assert "user.language = en" in log


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
