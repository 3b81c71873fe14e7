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
    assert bench.chosen({}) == bench.chosen({"ONLY": ""}) == list(bench.PARTS)


def test_only_chooses_parts_and_keeps_their_order() -> None:
    assert bench.chosen({"ONLY": "consumer,start"}) == ["start", "consumer"]


def test_unknown_part_is_named_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main({"ONLY": "start,consumr"}) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"ONLY must be some of {','.join(bench.PARTS)}, not consumr"


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
