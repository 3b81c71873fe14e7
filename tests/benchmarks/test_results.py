"""How the benchmark computes, keeps and publishes its figures."""

import subprocess
import sys
from pathlib import Path

import pytest
from cogapp import Cog

from report import README, update_readme
from results import PUBLISHED, Results, Row, readme_table

BENCHMARKS = Path(__file__).parent
SPEED = Row("producer", [30.0, 24.0, 40.0], "records/s", [40.0, 40.0, 40.0], ">= 0.75")


def test_ratio_is_the_median_of_the_ratios_of_each_pair() -> None:
    assert Row("x", [30.0, 90.0, 50.0], bare_runs=[40.0, 100.0, 100.0]).ratio == 0.75


def test_row_shows_medians_ratio_and_number_of_runs() -> None:
    assert SPEED.cells() == ["producer", "30 records/s", "40", "0.75", ">= 0.75", "3"]
    assert Row("memory", [1234.5], "MB").cells() == ["memory", "1,234 MB", "", "", "", ""]


def test_part_that_is_not_run_again_stays(tmp_path: Path) -> None:
    path = tmp_path / "new" / "results.json"
    Results(path).add("producer", [SPEED], 1, "full")
    Results(path).add("job", [SPEED], 2, "full")
    Results(path).add("producer", [SPEED], 3, "full")
    parts = Results(path).parts
    assert {name: part["seconds"] for name, part in parts.items()} == {"producer": 3, "job": 2}


def test_results_are_saved_in_the_given_order(tmp_path: Path) -> None:
    results = Results(tmp_path / "results.json")
    results.add("job", [SPEED], 1, "full")
    results.add("producer", [SPEED], 1, "full")
    results.save(["producer", "pace", "job"])
    assert list(Results(results.path).parts) == ["producer", "job"]


def test_table_of_a_part_is_markdown_below_its_caption(tmp_path: Path) -> None:
    results = Results(tmp_path / "results.json")
    results.add("producer", [SPEED], 7, "full")
    results.parts["producer"] |= {
        "when": "2026-11-23T12:31Z",
        "machine": {"cores": 2, "memory_gb": 23.5, "load_1_min": 3.4},
    }
    results.save()
    assert readme_table("producer", results.path).splitlines() == [
        "",
        "full size, 2026-11-23T12:31Z, 7 s, 2 cores, 23.5 GB, load 3.4",
        "",
        "| what | figure | bare | ratio | wanted | runs |",
        "| --- | --- | --- | --- | --- | --- |",
        "| producer | 30 records/s | 40 | 0.75 | >= 0.75 | 3 |",
    ]


def test_new_figures_replace_the_old_ones_in_the_readme(tmp_path: Path) -> None:
    results = Results(tmp_path / "results.json")
    results.add("producer", [SPEED], 1, "full")
    call = f"cog.outl(results.readme_table('producer', pathlib.Path({str(results.path)!r})))"
    block = f"<!-- [[[cog import pathlib, results; {call} ]]] -->\n%s<!-- [[[end]]] -->\nafter\n"
    readme = tmp_path / "README.md"
    readme.write_text("before\n" + block % "old\n")
    for _ in range(2):
        update_readme(readme)
    assert readme.read_text() == "before\n" + block % (
        readme_table("producer", results.path) + "\n"
    )


def test_readme_that_cannot_be_updated_is_an_error(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("<!-- [[[cog cog.outl(missing) ]]] -->\n<!-- [[[end]]] -->\n")
    with pytest.raises(RuntimeError, match="cog could not update"):
        update_readme(readme)


def test_readme_shows_the_published_results() -> None:
    assert Cog().main(["cog", "--check", "--diff", "-I", str(BENCHMARKS), str(README)]) == 0


def test_readme_shows_every_part_once() -> None:
    text = README.read_text()
    shown = {part: text.count(f'readme_table("{part}")') for part in Results(PUBLISHED).parts}
    assert set(shown.values()) == {1}, shown


def test_tables_need_the_standard_library_only() -> None:
    """Because cog runs in an environment without the packages of the benchmark."""
    code = f"import sys; sys.path.append({str(BENCHMARKS)!r}); import results"
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True)
