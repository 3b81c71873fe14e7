"""The services of docker-compose.yml as processes of this machine: one record per service.

With CLUSTER=1, some have several instances: see cluster.py.

All start at once. Each waits for what it needs, or ends and is started again. Names in braces are
settings of the stack and folders, see `Service.filled_in`. Services inherit the environment of
`stack.py up`; what is set neither there nor here has the default of the service's own code.
"""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace

import cluster
import probes
from locales import JAVA_LANGUAGE
from paths import LOCAL_STACK, PROJECT, TOOLS, spark_home
from ports import PORT_STEP, SECURED_PORTS, StackSettings
from probes import Probe


@dataclass(frozen=True)
class Service:
    """What runs, where it listens, and how to tell whether it answers."""

    name: str
    stop_order: int  # services stop one by one, the highest number first
    command: tuple[str, ...]
    probe: Probe
    ports: tuple[str, ...] = ()  # settings of the stack
    address: str = ""  # where a person or a client finds it
    environment: Mapping[str, str] = field(default_factory=dict)
    runs_once: bool = False  # ends when its work is done, and is then not started again
    number: int = 1  # of several instances

    @property
    def folder(self) -> str:
        """Where it runs, in the folder of the stack."""
        return "." if self.number == 1 else self.name

    def seen_from_here(self, stack: StackSettings) -> StackSettings:
        """The stack with the ports of this instance in place of those of the first one."""
        step = PORT_STEP * (self.number - 1)
        return replace(stack, **{port: getattr(stack, port) + step for port in self.ports})

    def filled_in(self, text: str, stack: StackSettings) -> str:
        """A text of this record, with the values of the stack in place of the names in braces."""
        folders = {"project": PROJECT, "local_stack": LOCAL_STACK, "tools": TOOLS}
        if "{spark_home}" in text:
            folders["spark_home"] = spark_home()
        return text.format(**asdict(self.seen_from_here(stack)), **folders)


# Keeps Java from optimising code that runs for a few seconds in all: the start takes half the time.
# Spark's executors, which carry the load, go without.
QUICK_START = "-XX:TieredStopAtLevel=1"
SERIAL_GC = "-XX:+UseSerialGC"
# Of the broker, ZooKeeper and Spark's daemons; that of the job is in spark-defaults.conf.
JAVA_OPTIONS = (QUICK_START, SERIAL_GC, JAVA_LANGUAGE)
# ZooKeeper does not start with an empty log of transactions, which a full disk leaves.
WITHOUT_EMPTY_LOGS = (
    'for log in zookeeper/version-2/log.*; do [ -s "$log" ] || rm -f "$log"; done; exec "$@"'
)
KAFKA_CLASS_PATH = "{local_stack}/conf:{tools}/kafka/*"
SPARK_CLASS = "{spark_home}/bin/spark-class"
SPARK_ENVIRONMENT = {
    "SPARK_CONF_DIR": "{project}/spark-job/conf",
    "SPARK_LOCAL_IP": "127.0.0.1",
}
SPARK_DAEMON_ENVIRONMENT = {
    **SPARK_ENVIRONMENT,
    "SPARK_DAEMON_MEMORY": "256m",
    "SPARK_DAEMON_JAVA_OPTS": " ".join(JAVA_OPTIONS),
}

TABLE = (
    Service(
        name="zookeeper",
        stop_order=10,
        command=(
            *("sh", "-c", WITHOUT_EMPTY_LOGS, "sh"),
            *("java", "-Xmx128m", *JAVA_OPTIONS, "-cp", KAFKA_CLASS_PATH),
            *("org.apache.zookeeper.server.quorum.QuorumPeerMain", "zookeeper.properties"),
        ),
        probe=probes.zookeeper,
        ports=("zookeeper_port",),
        address="localhost:{zookeeper_port}",
    ),
    Service(
        name="kafka",
        stop_order=20,
        command=(
            *("java", "-Xmx512m", *JAVA_OPTIONS, "-Djava.io.tmpdir=tmp"),
            *("-cp", KAFKA_CLASS_PATH, "kafka.Kafka", "{local_stack}/conf/kafka.properties"),
            *("--override", "listeners=PLAINTEXT://127.0.0.1:{kafka_port}"),
            *("--override", "advertised.listeners=PLAINTEXT://127.0.0.1:{kafka_port}"),
            *("--override", "zookeeper.connect=127.0.0.1:{zookeeper_port}"),
        ),
        probe=probes.kafka,
        ports=("kafka_port",),
        address="localhost:{kafka_port}",
    ),
    Service(
        name="topics",
        stop_order=60,
        command=("python", "{local_stack}/topics.py"),
        environment={
            "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:{kafka_port}",
            "PYTHONPATH": "{project}/verify",  # for kafka_access.py
        },
        probe=probes.topics,
        runs_once=True,
    ),
    Service(
        name="clickhouse-server",
        stop_order=30,
        command=(
            *("python", "{local_stack}/clickhouse/server.py"),
            "{tools}/clickhouse/libchdb.so",
            "{local_stack}/clickhouse/config.xml",
            "{project}/clickhouse-init/init.sql",
        ),
        environment={
            "CLICKHOUSE_PORT": "{clickhouse_port}",
            "CLICKHOUSE_HTTP_PORT": "{clickhouse_http_port}",
        },
        probe=probes.clickhouse_server,
        ports=("clickhouse_port", "clickhouse_http_port"),
        address="localhost:{clickhouse_port} http://localhost:{clickhouse_http_port}",
    ),
    Service(
        name="spark-master",
        stop_order=40,
        command=(
            *(SPARK_CLASS, "org.apache.spark.deploy.master.Master", "--host", "localhost"),
            *("--port", "{spark_master_port}", "--webui-port", "{spark_master_webui_port}"),
        ),
        environment={
            **SPARK_DAEMON_ENVIRONMENT,
            "SPARK_MASTER_OPTS": "-Dspark.deploy.recoveryMode=FILESYSTEM"
            " -Dspark.deploy.recoveryDirectory=spark-master -Dspark.deploy.recoveryTimeout=10"
            " -Dspark.worker.timeout=30 -Dspark.master.rest.enabled=false",
        },
        probe=probes.spark_master,
        ports=("spark_master_port", "spark_master_webui_port"),
        address="spark://localhost:{spark_master_port} http://localhost:{spark_master_webui_port}",
    ),
    Service(
        name="spark-worker",
        stop_order=50,
        command=(
            *(SPARK_CLASS, "org.apache.spark.deploy.worker.Worker", "--host", "localhost"),
            # A slot per partition of transactions_raw, so that a batch is read in one go.
            *("--webui-port", "{spark_worker_webui_port}", "--cores", "3", "--memory", "1536m"),
            *("--work-dir", "spark-worker", "spark://localhost:{spark_master_port}"),
        ),
        environment={
            **SPARK_DAEMON_ENVIRONMENT,
            "SPARK_LOCAL_DIRS": "{directory}/tmp",
            "SPARK_WORKER_OPTS": "-Dspark.worker.cleanup.enabled=true"
            " -Dspark.worker.cleanup.appDataTtl=86400",
        },
        probe=probes.spark_worker,
        ports=("spark_worker_webui_port",),
        address="http://localhost:{spark_worker_webui_port}",
    ),
    Service(
        name="spark-job",
        stop_order=70,
        command=("python", "{project}/spark-job/stream_job.py"),
        environment={
            **SPARK_ENVIRONMENT,
            "SPARK_MASTER": "spark://localhost:{spark_master_port}",
            "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:{kafka_port}",
            "CHECKPOINT_LOCATION": "{directory}/checkpoint",
            "HEALTH_FILE": "{directory}/health/spark-job",
            "METRICS_PORT": "{job_metrics_port}",
            "SPARK_LOCAL_DIRS": "{directory}/tmp",
            "SPARK_SUBMIT_OPTS": "-Djava.io.tmpdir=tmp",
            "PYSPARK_SUBMIT_ARGS": "--conf spark.ui.port={spark_ui_port} pyspark-shell",
        },
        probe=probes.heartbeat("spark-job"),
        ports=("spark_ui_port", "job_metrics_port"),
        address="http://localhost:{spark_ui_port} http://localhost:{job_metrics_port}/metrics",
    ),
    Service(
        name="clickhouse-consumer",
        stop_order=80,
        command=("python", "{project}/clickhouse-consumer/consumer.py"),
        environment={
            "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:{kafka_port}",
            "CLICKHOUSE_HOST": "127.0.0.1",
            "CLICKHOUSE_PORT": "{clickhouse_port}",
            "CLICKHOUSE_USER": probes.CLICKHOUSE_USER,
            "CLICKHOUSE_PASSWORD": probes.CLICKHOUSE_PASSWORD,
            "HEALTH_FILE": "{directory}/health/clickhouse-consumer",
            "METRICS_PORT": "{consumer_metrics_port}",
        },
        probe=probes.heartbeat("clickhouse-consumer"),
        ports=("consumer_metrics_port",),
        address="http://localhost:{consumer_metrics_port}/metrics",
    ),
)
SERVICES = tuple(service.name for service in TABLE)  # in the order of the data flow


def services_of(stack: StackSettings) -> dict[str, Service]:
    """Name -> record of every service of this stack, in the order of the data flow."""
    all_services = cluster.instances(TABLE, stack) if stack.cluster else TABLE
    return {service.name: service for service in all_services}


def ports_of(services: Collection[str], stack: StackSettings) -> dict[int, str]:
    """The ports on which these services listen: port -> variable that sets it."""
    ports: dict[int, str] = {}
    for service in (services_of(stack)[name] for name in services):
        names = service.ports + (SECURED_PORTS if stack.secure and service.name == "kafka" else ())
        seen = service.seen_from_here(stack)
        ports |= {getattr(seen, name): name.upper() for name in names}
    return ports
