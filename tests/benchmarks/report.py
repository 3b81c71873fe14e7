"""Where the results are shown: in the terminal, and in README.md once they are published."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cogapp import Cog
from rich.console import Console
from rich.table import Table

from results import HEADINGS, caption, cells_of

HERE = Path(__file__).parent
README = HERE / "README.md"


def print_table(name: str, part: Mapping[str, Any]) -> None:
    """Print the figures of one part, as it is in the JSON file."""
    table = Table(title=name, title_justify="left", caption=caption(part), min_width=76)
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if heading in ("what", "wanted") else "right")
    for cells in cells_of(part):
        table.add_row(*cells)
    console = Console()
    console = console if console.is_terminal else Console(width=140)
    console.print(table)


def update_readme(readme: Path = README) -> None:
    """Write the published results into the tables of the README. Raises RuntimeError."""
    if Cog().main(["cog", "-r", "--verbosity=0", "-I", str(HERE), str(readme)]) != 0:
        raise RuntimeError(f"cog could not update {readme}")
