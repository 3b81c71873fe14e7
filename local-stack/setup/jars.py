"""Kafka with ZooKeeper, and Spark's Kafka connector: jars, fetched with the Ivy inside PySpark."""

from pathlib import Path

from paths import LOCAL_STACK, PROJECT, TOOLS, VENV, spark_home
from setup.packages import SPARK_REQUIREMENTS
from setup.steps import Step, is_stamped, new_folder, put_in_place, run, write_stamp

FETCH_JARS = PROJECT / "spark-job" / "fetch_jars.py"
CONNECTOR_SOURCES = (PROJECT / "spark-job" / "connector.xml", FETCH_JARS, *SPARK_REQUIREMENTS)
KAFKA_SOURCES = (LOCAL_STACK / "kafka.xml", FETCH_JARS)


def fetch_jars(ivy_file: Path, folder: Path) -> None:
    """Fetch the jars that the file lists, and those that they need. Raises SetupError."""
    python = VENV / "bin" / "python"
    run(python, FETCH_JARS, ivy_file, folder, JAVA_HOME=str(TOOLS / "java"))


def make_connector() -> None:
    folder = new_folder("connector")
    fetch_jars(CONNECTOR_SOURCES[0], folder)
    made = [jar.rename(spark_home() / "jars" / jar.name) for jar in folder.iterdir()]
    folder.rmdir()
    write_stamp(VENV / "connector", *CONNECTOR_SOURCES, made=made)


def make_kafka() -> None:
    folder = new_folder("kafka")
    fetch_jars(KAFKA_SOURCES[0], folder)
    write_stamp(folder / "stamp", *KAFKA_SOURCES, made=folder.iterdir())
    put_in_place(folder)


CONNECTOR_STEP = Step(
    "Spark's Kafka connector (10 MB)",
    20,
    lambda: is_stamped(VENV / "connector", *CONNECTOR_SOURCES),
    make_connector,
)
KAFKA_STEP = Step(
    "Kafka and ZooKeeper (46 MB)",
    100,
    lambda: is_stamped(TOOLS / "kafka" / "stamp", *KAFKA_SOURCES),
    make_kafka,
)
