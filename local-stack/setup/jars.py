"""Kafka with ZooKeeper, and Spark's Kafka connector: jars, fetched with the Ivy inside PySpark."""

from pathlib import Path

from paths import LOCAL_STACK, PROJECT, TOOLS, VENV, spark_home
from setup.packages import SPARK_REQUIREMENTS
from setup.steps import Step, is_stamped, new_folder, put_in_place, run, write_stamp

FETCH_JARS = PROJECT / "spark-job" / "fetch_jars.py"
CONNECTOR_SOURCES = (PROJECT / "spark-job" / "connector.xml", FETCH_JARS, *SPARK_REQUIREMENTS)


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


def jars_step(what: str, size_mb: int, ivy_file: Path) -> Step:
    """The jars that the file lists, in a folder of TOOLS with the name of the file."""
    name, sources = ivy_file.stem, (ivy_file, FETCH_JARS)

    def make() -> None:
        folder = new_folder(name)
        fetch_jars(ivy_file, folder)
        write_stamp(folder / "stamp", *sources, made=folder.iterdir())
        put_in_place(folder)

    return Step(what, size_mb, lambda: is_stamped(TOOLS / name / "stamp", *sources), make)


CONNECTOR_STEP = Step(
    "Spark's Kafka connector (10 MB)",
    20,
    lambda: is_stamped(VENV / "connector", *CONNECTOR_SOURCES),
    make_connector,
)
KAFKA_STEP = jars_step("Kafka and ZooKeeper (46 MB)", 100, LOCAL_STACK / "kafka.xml")
