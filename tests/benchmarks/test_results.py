"""How figures are put together and kept."""

from pathlib import Path

from results import END_MARK, MARK, Results, Row

BENCHMARKS = Path(__file__).parent
SPEED = Row("producer", [30.0, 24.0, 40.0], "records/s", [40.0, 40.0, 40.0], ">= 0.75")


def test_a_ratio_is_the_median_of_those_of_the_pairs() -> None:
    assert Row("x", [30.0, 90.0, 50.0], bare_runs=[40.0, 100.0, 100.0]).ratio == 0.75


def test_a_row_shows_medians_the_ratio_and_the_number_of_runs() -> None:
    assert SPEED.cells() == ["producer", "30 records/s", "40", "0.75", ">= 0.75", "3"]
    assert Row("memory", [1234.5], "MB").cells() == ["memory", "1,234 MB", "", "", "", ""]


def test_parts_that_are_not_run_again_stay(tmp_path: Path) -> None:
    path = tmp_path / "new" / "results.json"
    Results(path).add("producer", [SPEED], 1, "full")
    Results(path).add("job", [SPEED], 2, "full")
    Results(path).add("producer", [SPEED], 3, "full")
    parts = Results(path).parts
    assert {name: part["seconds"] for name, part in parts.items()} == {"producer": 3, "job": 2}


def test_figures_replace_the_former_ones_in_the_readme(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{MARK}\nold\n{END_MARK}\nafter\n")
    results = Results(tmp_path / "results.json")
    results.add("producer", [SPEED], 1, "full")
    for _ in range(2):
        results.write_into(readme)
    text = readme.read_text()
    assert text.startswith(f"before\n{MARK}\n")
    assert text.endswith(f"\n{END_MARK}\nafter\n")
    assert text.count("| producer | 30 records/s | 40 | 0.75 | >= 0.75 | 3 |") == 1
    assert "old" not in text


def test_the_readme_has_the_place_for_the_figures() -> None:
    text = (BENCHMARKS / "README.md").read_text()
    assert text.count(MARK) == text.count(END_MARK) == 1
