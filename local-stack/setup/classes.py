"""An archive of the Java classes that the job loads: Spark starts in two thirds of the time.

Java ignores an archive that another Java has made, or that was made from other jars.
"""

import shlex
import subprocess
from pathlib import Path

from locales import LOCALE
from paths import PROJECT, TOOLS, VENV, spark_home
from setup.java import JAVA
from setup.steps import Step, is_stamped, run, write_stamp

SPARK_JOB = PROJECT / "spark-job"
LOAD_CLASSES = SPARK_JOB / "load_classes.py"
STAMP = VENV / "classes"


def sources() -> tuple[object, ...]:
    """How the archive is made, and what Java compares before it uses one."""
    # Without the caller's environment: options for Java in there would add lines to the answer.
    java = subprocess.run([JAVA, "-version"], env=LOCALE, capture_output=True)
    files = [(jar, jar.stat()) for jar in sorted(spark_home().glob("jars/*.jar"))]
    jars = [(str(jar), stat.st_size, int(stat.st_mtime)) for jar, stat in files]
    return (LOAD_CLASSES, Path(__file__), java.stderr, jars)


def make_classes() -> None:
    archive = spark_home() / "classes.jsa"
    archive.unlink(missing_ok=True)
    jars = spark_home() / "jars" / "*"
    java_option = f"-XX:ArchiveClassesAtExit={shlex.quote(str(archive))}"
    run(
        *(spark_home() / "bin" / "spark-submit", "--master", "local[2]"),
        *("--properties-file", SPARK_JOB / "conf" / "spark-defaults.conf"),
        *("--conf", f"spark.driver.defaultExtraClassPath={jars}"),
        *("--conf", f"spark.driver.defaultJavaOptions=-Xlog:cds=error {java_option}"),
        LOAD_CLASSES,
        SPARK_HOME=str(spark_home()),
        SPARK_CONF_DIR="",  # Java makes no archive if a folder is on the class path
        HADOOP_CONF_DIR="",
        SPARK_LOCAL_IP="127.0.0.1",
        LOG4J_CONFIGURATION_FILE=str(SPARK_JOB / "conf" / "log4j2.properties"),
        PYSPARK_PYTHON=str(VENV / "bin" / "python"),
        JAVA_HOME=str(TOOLS / "java"),
    )
    # A Java that cannot make one goes without.
    write_stamp(STAMP, *sources(), made=[archive] if archive.exists() else [])


CLASSES_STEP = Step(
    "Archive of Java classes (made here)", 170, lambda: is_stamped(STAMP, *sources()), make_classes
)
