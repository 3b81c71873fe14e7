"""What supervisord reads in the configuration that is made for it."""

import shlex
from pathlib import Path

import pytest
from supervisor.options import ProcessConfig, ServerOptions

import configuration
import paths
from ports import StackSettings
from services import SERVICES, services_of


def as_supervisord_reads_it(
    stack: StackSettings, *services: str, **changes: str
) -> dict[str, ProcessConfig]:
    """The services with all their options, by name."""
    for folder in ("log", "pids"):
        (stack.directory / folder).mkdir(parents=True, exist_ok=True)
    file = stack.directory / "supervisord.conf"
    with file.open("w") as lines:
        configuration.configuration(stack, services or SERVICES, changes).write(lines)
    options = ServerOptions()
    options.realize(args=["-c", str(file)])
    groups = options.process_group_configs
    return {process.name: process for group in groups for process in group.process_configs}


@pytest.fixture
def processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, ProcessConfig]:
    monkeypatch.chdir(tmp_path)  # where supervisord runs; log files are relative to it
    return as_supervisord_reads_it(StackSettings(tmp_path))


def test_supervisord_runs_exactly_the_services(processes: dict[str, ProcessConfig]) -> None:
    assert sorted(processes) == sorted(SERVICES)
    for name, process in processes.items():
        python, launch, launched, *_ = shlex.split(process.command)
        assert (python, Path(launch).name, launched) == ("python", "launch.py", name)
        assert process.priority == services_of(StackSettings())[name].stop_order


def test_each_service_logs_to_its_own_file(
    processes: dict[str, ProcessConfig], tmp_path: Path
) -> None:
    for name, process in processes.items():
        assert tmp_path / process.stdout_logfile == StackSettings(tmp_path).log_file(name)
        assert (process.redirect_stderr, process.stdout_logfile_maxbytes) == (True, 10 * 2**20)


def test_every_service_but_the_topics_is_restarted(processes: dict[str, ProcessConfig]) -> None:
    restarts = {name: process.autorestart.__name__ for name, process in processes.items()}

    assert restarts.pop("topics") == "RestartWhenExitUnexpected"
    assert set(restarts.values()) == {"RestartUnconditionally"}
    assert {process.startretries for process in processes.values()} == {1000}


def test_every_program_in_java_is_english(processes: dict[str, ProcessConfig]) -> None:
    for name, process in processes.items():
        _, _, _, program, *arguments = shlex.split(process.command)
        daemon_options = process.environment.get("SPARK_DAEMON_JAVA_OPTS", "").split()
        if program == "java" or Path(program).name == "spark-class":
            assert "-Duser.language=en" in (*arguments, *daemon_options), name


def test_a_stop_signals_the_service_and_kills_its_children_only_later(
    processes: dict[str, ProcessConfig],
) -> None:
    ways = {(p.stopasgroup, p.killasgroup, p.stopwaitsecs) for p in processes.values()}

    assert ways == {(False, True, 30)}


def test_only_the_chosen_services_start_by_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    read = as_supervisord_reads_it(StackSettings(tmp_path), "kafka", "topics")

    assert sorted(name for name, process in read.items() if process.autostart) == [
        "kafka",
        "topics",
    ]


def test_a_variable_of_the_table_can_be_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    read = as_supervisord_reads_it(
        StackSettings(tmp_path), CHECKPOINT_LOCATION="hdfs://shop/totals", WATERMARK="1 hour"
    )

    assert read["spark-job"].environment["CHECKPOINT_LOCATION"] == "hdfs://shop/totals"
    # The others inherit it, and are not told twice.
    assert [name for name, process in read.items() if "WATERMARK" in process.environment] == []


@pytest.mark.parametrize("name", ["with space", "50%", "%(here)s", "it's", 'a "b"', "a\\b", "#1"])
def test_any_usual_path_reaches_the_service_unchanged(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert paths.is_usable(tmp_path / name)
    project = tmp_path / name / "project"
    monkeypatch.setattr(configuration, "LOCAL_STACK", project / "local-stack")
    monkeypatch.setattr("services.PROJECT", project)
    stack = StackSettings(tmp_path / name / "stack")
    stack.directory.mkdir(parents=True)
    monkeypatch.chdir(stack.directory)

    job = as_supervisord_reads_it(stack)["spark-job"]

    assert shlex.split(job.command) == [
        *("python", f"{project}/local-stack/launch.py", "spark-job"),
        *("python", f"{project}/spark-job/stream_job.py"),
    ]
    assert job.environment == {
        "SPARK_CONF_DIR": f"{project}/spark-job/conf",
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_MASTER": "spark://localhost:7077",
        "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9092",
        "CHECKPOINT_LOCATION": f"{stack.directory}/checkpoint",
        "HEALTH_FILE": f"{stack.directory}/health/spark-job",
        "METRICS_PORT": "9101",
        "SPARK_LOCAL_DIRS": f"{stack.directory}/tmp",
        "SPARK_SUBMIT_OPTS": "-Djava.io.tmpdir=tmp",
        "PYSPARK_SUBMIT_ARGS": "--conf spark.ui.port=4040 pyspark-shell",
    }
