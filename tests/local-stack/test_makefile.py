"""How make passes settings on."""

import os
import subprocess
from pathlib import Path

import pytest

from paths import PROJECT


@pytest.mark.parametrize(("environment", "port"), [({}, "19092"), ({"KAFKA_PORT": "1"}, "1")])
def test_make_prefers_the_environment_to_the_env_file(
    environment: dict[str, str], port: str, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("# settings\nKAFKA_PORT=19092\nWATERMARK=20 minutes\n")
    makefile = (PROJECT / "Makefile").read_text()
    (tmp_path / "Makefile").write_text(f"{makefile}\nshow:\n\t@env\n")
    shown = subprocess.run(
        ["make", "show"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
    )
    assert {f"KAFKA_PORT={port}", "WATERMARK=20 minutes"} <= set(shown.stdout.splitlines()), shown
