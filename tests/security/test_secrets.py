"""Passwords and keys are in the folder of the secrets and nowhere else."""

import json
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import secured
from local_http import urlopen
from ports import HOST
from secured_pipeline import SecuredPipeline
from servers import free_ports
from stack import Stack
from waiting import eventually

pytestmark = pytest.mark.services

USER = "spark-job"
API = "api/v1/applications"


def test_no_secret_is_in_a_file_a_command_or_a_page(
    pipeline: SecuredPipeline, tmp_path: Path
) -> None:
    """While a job runs that logs in with a password, and another one that has a private key."""
    for program in ("producer", "verify"):
        with pipeline.running(program, pipeline.login(program)) as run:
            assert run.wait_for_end() == 0, run.log()
    (port,) = free_ports(1)
    certificate = pipeline.certificate(USER)
    ui = f"--conf spark.ui.port={port} pyspark-shell"
    checkpoint = tmp_path / "checkpoint"
    with pipeline.running(
        USER, certificate, CHECKPOINT_LOCATION=str(checkpoint), PYSPARK_SUBMIT_ARGS=ui
    ):
        eventually((checkpoint / "commits" / "0").exists, "the second job has counted")
        shown = {
            **files(pipeline.stack.directory, but_not=pipeline.security),
            **files(tmp_path, but_not=pipeline.stack.directory),
            **commands(),
            **pages(pipeline.stack.spark_ui_port),
            **pages(port),
            **of_master_and_worker(pipeline.stack),
            **metrics(pipeline.stack),
        }
    places = " ".join(shown)
    for expected in ("checkpoint/state", "log/spark-job", "health", "ExecutorBackend", "execution"):
        assert expected in places
    known = secrets(pipeline)
    assert [(where, known[each]) for where in shown for each in known if each in shown[where]] == []


def secrets(pipeline: SecuredPipeline) -> dict[bytes, str]:
    """Each secret and its file: whole passwords, and a line of each private key."""
    passwords = {path.read_bytes(): path.name for path in pipeline.security.glob("*.password")}
    keys = {
        path.read_bytes().splitlines()[1]: path.name for path in pipeline.security.glob("*.key")
    }
    assert len(passwords) == len(secured.ACLS) and len(keys) == len(secured.ACLS) + 2
    return passwords | keys


def files(folder: Path, but_not: Path) -> dict[str, bytes]:
    """Path -> content of all files in a folder, however deep."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file() and but_not not in path.parents:
            try:
                found[str(path)] = path.read_bytes()
            except FileNotFoundError:  # one that Spark has just removed
                continue
    return found


def commands() -> dict[str, bytes]:
    """What `ps` shows of each process of this machine."""
    lines = (" ".join(each.info["cmdline"] or []) for each in psutil.process_iter(["cmdline"]))
    return {line: line.encode() for line in lines}


def pages(port: int) -> dict[str, bytes]:
    """URL -> content of a driver's web pages, and of what it tells programs."""
    return dict(read_pages(f"http://{HOST}:{port}"))


def of_master_and_worker(stack: Stack) -> dict[str, bytes]:
    ports = (stack.spark_master_webui_port, stack.spark_worker_webui_port)
    urls = [f"http://{HOST}:{port}/{page}" for port in ports for page in ("", "json/")]
    return {url: urlopen(url).read() for url in urls}


def metrics(stack: Stack) -> dict[str, bytes]:
    ports = (stack.job_metrics_port, stack.consumer_metrics_port)
    urls = [f"http://{HOST}:{port}/metrics" for port in ports]
    return {url: urlopen(url).read() for url in urls}


def read_pages(driver: str) -> Iterator[tuple[str, bytes]]:
    (application,) = json.loads(urlopen(f"{driver}/{API}").read())
    about = f"{API}/{application['id']}"
    executions = json.loads(urlopen(f"{driver}/{about}/sql?length=1000").read())
    names = ["environment", "SQL", "StreamingQuery", "jobs", "stages", "executors"]
    names += [f"{about}/environment", f"{about}/sql?length=1000"]
    names += [f"SQL/execution/?id={each['id']}" for each in executions[-3:]]
    for name in names:
        yield f"{driver}/{name}", urlopen(f"{driver}/{name}").read()
