"""A real HDFS: a name node and two data nodes, each a process of its own.

`make setup` does not fetch it: whoever uses it does.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from local_http import urlopen
from paths import PROJECT, TOOLS, spark_home
from polling import eventually_equal
from ports import HOST
from servers import free_ports
from services import JAVA_OPTIONS
from setup.jars import jars_step
from setup.java import JAVA
from setup.steps import set_up, setup_lock

STEP = jars_step("HDFS (56 MB)", 60, Path(__file__).with_name("hdfs.xml"))
NAME_NODE = "name-node"
DATA_NODES = ("data-node-1", "data-node-2")
ADDRESSES = ("", "ipc.", "http.")  # of a data node
LOG_CONFIGURATION = PROJECT / "spark-job" / "conf" / "log4j2.properties"
# Of the nodes, and of clients, which decide how many copies there are.
SITE = """<configuration>
  <property><name>dfs.namenode.rpc-address</name><value>{host}:{port}</value></property>
  <property><name>dfs.namenode.http-address</name><value>{host}:{web_port}</value></property>
  <property><name>dfs.namenode.safemode.extension</name><value>0</value></property>
  <property><name>dfs.replication</name><value>{copies}</value></property>
</configuration>
"""
READY_SEC = 60


class Hdfs:
    """Its nodes, in one folder; none runs yet."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.conf = directory / "conf"  # a HADOOP_CONF_DIR
        self.port, self.web_port = free_ports(2)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.conf.mkdir(parents=True)
        site = SITE.format(
            host=HOST, port=self.port, web_port=self.web_port, copies=len(DATA_NODES)
        )
        (self.conf / "hdfs-site.xml").write_text(site)
        code = self._run(NAME_NODE, "-format", "-nonInteractive").wait()
        assert code == 0, (directory / NAME_NODE / "log").read_text()

    @property
    def url(self) -> str:
        return f"hdfs://{HOST}:{self.port}"

    def start(self, node: str) -> None:
        self.processes[node] = self._run(node)

    def kill(self, node: str) -> None:
        self.processes[node].kill()
        self.processes[node].wait()

    def live_data_nodes(self) -> int:
        """How many the name node knows; 0 if it does not answer."""
        query = "Hadoop:service=NameNode,name=FSNamesystemState"
        try:
            with urlopen(f"http://{HOST}:{self.web_port}/jmx?qry={query}") as answer:
                return sum(bean["NumLiveDataNodes"] for bean in json.load(answer)["beans"])
        except OSError:
            return 0

    def _run(self, node: str, *arguments: str) -> "subprocess.Popen[bytes]":
        """Start a program in its folder, which has its data and its log."""
        folder = self.directory / node
        folder.mkdir(exist_ok=True)
        data, any_port = f"file:{folder}/data", f"{HOST}:0"
        if node == NAME_NODE:
            program, settings = "namenode.NameNode", {"dfs.namenode.name.dir": data}
        else:
            program, settings = "datanode.DataNode", {"dfs.datanode.data.dir": data}
            settings |= {f"dfs.datanode.{server}address": any_port for server in ADDRESSES}
        options = [f"-D{name}={value}" for name, value in settings.items()]
        class_path = f"{self.conf}:{TOOLS}/hdfs/*:{spark_home()}/jars/*"
        java = (JAVA, "-Xmx128m", *JAVA_OPTIONS, "-cp", class_path)
        with (folder / "log").open("ab") as log:
            return subprocess.Popen(
                [*java, f"org.apache.hadoop.hdfs.server.{program}", *options, *arguments],
                env={**os.environ, "LOG4J_CONFIGURATION_FILE": str(LOG_CONFIGURATION)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )


@contextmanager
def running_hdfs(directory: Path) -> Iterator[Hdfs]:
    """All nodes run and answer. Raises SetupError if the jar cannot be fetched."""
    with setup_lock():
        set_up([STEP], workers=1)
    hdfs = Hdfs(directory)
    try:
        for node in (NAME_NODE, *DATA_NODES):
            hdfs.start(node)
        eventually_equal(hdfs.live_data_nodes, len(DATA_NODES), "live data nodes", READY_SEC)
        yield hdfs
    finally:
        for node in hdfs.processes:
            hdfs.kill(node)
