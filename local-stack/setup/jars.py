"""Kafka with ZooKeeper, and Spark's Kafka connector: jars, fetched with the Ivy inside PySpark."""

import shutil
from pathlib import Path

from paths import LOCAL_STACK, PROJECT, TOOLS, VENV
from setup.java import JAVA
from setup.packages import SPARK_REQUIREMENTS
from setup.steps import Step, fingerprint, is_stamped, new_folder, put_in_place, run

CONNECTOR_JARS = PROJECT / "spark-job" / "connector.xml"
KAFKA_JARS = LOCAL_STACK / "kafka.xml"


def spark_jars() -> Path:
    return next(VENV.glob("lib/python3*/site-packages/pyspark/jars"))


def retrieve_jars(ivy_file: Path, folder: Path) -> None:
    """Fetch the jars that the file lists, and those that they need."""
    run(
        JAVA,
        # Nothing from the user's own Ivy or Maven folders gets in.
        f"-Divy.default.ivy.user.dir={folder}.ivy",
        *("-jar", next(spark_jars().glob("ivy-*.jar")), "-ivy", ivy_file),
        *("-types", "jar", "bundle", "-retrieve", f"{folder}/[artifact]-[revision].[ext]"),
    )
    shutil.rmtree(f"{folder}.ivy")


def make_connector() -> None:
    folder = new_folder("connector")
    retrieve_jars(CONNECTOR_JARS, folder)
    for jar in folder.iterdir():
        jar.rename(spark_jars() / jar.name)
    folder.rmdir()
    (VENV / "connector").write_text(fingerprint(CONNECTOR_JARS, *SPARK_REQUIREMENTS))


def make_kafka() -> None:
    folder = new_folder("kafka")
    retrieve_jars(KAFKA_JARS, folder)
    (folder / "stamp").write_text(fingerprint(KAFKA_JARS))
    put_in_place(folder)


CONNECTOR_STEP = Step(
    "Spark's Kafka connector (10 MB)",
    20,
    lambda: is_stamped(VENV, "connector", CONNECTOR_JARS, *SPARK_REQUIREMENTS),
    make_connector,
)
KAFKA_STEP = Step(
    "Kafka and ZooKeeper (46 MB)",
    100,
    lambda: is_stamped(TOOLS / "kafka", "stamp", KAFKA_JARS),
    make_kafka,
)
