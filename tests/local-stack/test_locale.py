"""Services start in a locale in which other programs would not."""

import os
import subprocess
from pathlib import Path

import pytest
from kafka import KafkaProducer

from paths import PROJECT
from servers import servers

pytestmark = pytest.mark.services

# As on a machine whose language is Turkish, where "i".toUpperCase() is not "I".
TURKISH = "-Duser.language=tr -Duser.country=TR"


@pytest.fixture(autouse=True)
def turkish_without_utf8(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "C")  # Java cannot open files with an umlaut in the name
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", TURKISH)


def test_kafka_and_its_console_consumer_run(tmp_path: Path) -> None:
    with servers(tmp_path / "stäck (1)", "zookeeper", "kafka", "topics") as started:
        producer = KafkaProducer(bootstrap_servers=started.kafka)
        producer.send("transactions_raw", b"a record").get(timeout=60)
        producer.close()

        shown = subprocess.run(
            ["make", "topics", "TOPIC=transactions_raw", "MAX=1"],
            cwd=PROJECT,
            env={**os.environ, **started.environment, "COMPOSE": "false"},
            capture_output=True,
            text=True,
            timeout=120,
        )

    assert shown.stdout == "a record\n", shown.stderr
