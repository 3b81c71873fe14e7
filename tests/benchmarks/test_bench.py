"""Which parts the benchmark runs, and what its programs need to start."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import bench
from job_stages import STAGES
from results import PUBLISHED, Results
from stack import PROJECT
from testbed import INSIDE

BENCHMARKS = Path(__file__).parent


def evaluated(service: str, expression: str) -> object:
    """What an expression gives after the import of the program that runs inside a service."""
    module = INSIDE[service].removesuffix(".py")
    code = f"import json, {module}; print(json.dumps({expression}))"
    path = os.pathsep.join(map(str, (PROJECT / service, BENCHMARKS)))
    process = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout)


def test_all_parts_run_by_default() -> None:
    assert bench.parts_of({}) == bench.parts_of({"ONLY": ""}) == bench.PARTS


def test_only_chooses_parts_and_keeps_their_order() -> None:
    assert list(bench.parts_of({"ONLY": "consumer,start"})) == ["start", "consumer"]


def test_unknown_part_is_named_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main({"ONLY": "start,consumr"}) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"ONLY must be some of {','.join(bench.PARTS)}, not consumr"


def test_another_commit_is_measured_by_a_copy_of_its_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "RESULTS", tmp_path)
    parts = bench.parts_of({"BASE": "HEAD"})
    assert list(parts) == ["job"]
    assert (tmp_path / "base" / "spark-job" / "stream_job.py").is_file()


def test_a_part_without_a_base_and_an_unknown_commit_are_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "RESULTS", tmp_path)
    assert bench.main({"BASE": "HEAD", "ONLY": "start"}) == 2
    assert bench.main({"BASE": "no-commit"}) == 2
    unknown_part, unknown_commit = capsys.readouterr().err.splitlines()
    assert unknown_part == "ONLY must be some of job, not start"
    assert unknown_commit.startswith("BASE must be a commit, not no-commit: ")


def test_publishing_a_part_keeps_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published, measured = (Results(tmp_path / f"{name}.json") for name in ("published", "measured"))
    published.parts = {"job": "old", "start": "old"}
    published.save()
    measured.parts = {"start": "new", "pace": "new"}
    updates = list[None]()
    monkeypatch.setattr(bench, "PUBLISHED", published.path)
    monkeypatch.setattr(bench, "update_readme", lambda: updates.append(None))
    bench.publish("start", measured)
    assert list(Results(published.path).parts.items()) == [("start", "new"), ("job", "old")]
    assert len(updates) == 1


def test_every_part_has_published_results_in_its_order() -> None:
    assert list(Results(PUBLISHED).parts) == list(bench.PARTS)


@pytest.mark.parametrize("service", INSIDE)
def test_program_inside_a_service_needs_only_its_folder(service: str) -> None:
    evaluated(service, "None")


def test_stages_of_the_job_are_known_inside_it() -> None:
    assert evaluated("spark-job", "list(inside_job.STAGES)") == list(STAGES)


def test_modules_on_the_path_have_names_of_their_own() -> None:
    folders = ("local-stack", "verify", "tests/support", "tests/benchmarks")
    names = Counter(file.name for folder in folders for file in (PROJECT / folder).glob("*.py"))
    assert [name for name, count in names.items() if count > 1] == []
