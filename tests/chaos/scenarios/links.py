"""A network of its own for one stack, whose links between services can be cut, reset and slowed.

All services listen on 127.0.0.1. What tells links apart is who connects: the services of each
machine of a real installation run as one group (`Machine`), and the firewall marks each connection
with its link when it begins. Packets are lost where they would arrive, as on a wire.

Everything is in a network namespace, which vanishes with its last process, and its rules with it.
"""

import ctypes
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

from ports import StackSettings

CLONE_NEWNET = 0x40000000
NFT_TABLE = "inet links"
MTU = 1500  # as of Ethernet; a packet of loopback's 64 KiB would fill a slow link for a second
SLOW_RATE = "64kbps"  # tc's name for 64 kB/s
BACK = 0x10  # added to the mark of a connection that the server's side has opened
ASKED = 0x100  # added to the mark of a connection on which a request was sent
HEADERS = 52  # bytes, of IPv4 and TCP; a longer packet has data
# Ports of Spark that are random unless set; Spark tries the next ones if one is taken.
DRIVER_PORT, DRIVER_BLOCKS_PORT, EXECUTOR_BLOCKS_PORT, WORKER_PORT = range(12000, 12400, 100)
SPARK_RETRIES = 16
TOOLS = ("ip", "nft", "setpriv", "ss", "tc", "unshare")
# Of a connection that was given up during a cut; without the entry its packets would pass.
REMEMBERED_SEC = 600
CONNTRACK = Path("/proc/sys/net/netfilter")
ENDINGS = ("close", "close_wait", "fin_wait", "last_ack", "syn_recv", "syn_sent", "time_wait")


class Machine(IntEnum):
    """What runs on one machine; the value is the group of its processes."""

    PRODUCER = 7001
    BROKER = 7002
    ZOOKEEPER = 7003
    CLICKHOUSE = 7004
    MASTER = 7005
    WORKER = 7006  # and its executors
    JOB = 7007  # and its driver
    CONSUMER = 7008


class Link(NamedTuple):
    """A link between machines."""

    name: str
    clients: tuple[Machine, ...]
    server: Machine
    # An nft expression for the packet with which a request is sent, all but its answer; empty if
    # nothing is answered there.
    request: str = f"meta length > {HEADERS}"


# @ih is what follows the TCP header. ClickHouse: a packet that begins with 2 has rows; one without
# any is shorter. Kafka: four bytes of length, then the number of the API.
ROWS = "meta length > 120 @ih,0,8 2"
PRODUCE, OFFSET_COMMIT = "@ih,32,16 0", "@ih,32,16 8"
LINKS = {
    link.name: link
    for link in (
        Link("producer-broker", (Machine.PRODUCER,), Machine.BROKER, PRODUCE),
        Link("job-broker", (Machine.JOB, Machine.WORKER), Machine.BROKER, PRODUCE),
        Link("consumer-broker", (Machine.CONSUMER,), Machine.BROKER, OFFSET_COMMIT),
        Link("broker-zookeeper", (Machine.BROKER,), Machine.ZOOKEEPER),
        Link("consumer-clickhouse", (Machine.CONSUMER,), Machine.CLICKHOUSE, ROWS),
        Link("driver-master", (Machine.JOB,), Machine.MASTER, request=""),
        Link("worker-master", (Machine.WORKER,), Machine.MASTER, request=""),
        Link("driver-executor", (Machine.JOB,), Machine.WORKER),
    )
}
MARKS = {name: number for number, name in enumerate(LINKS, 1)}


def missing() -> str:
    """What this machine lacks for such a network, for a person; nothing if it has all."""
    if tools := [tool for tool in TOOLS if not shutil.which(tool)]:
        return f"needs {', '.join(tools)}"
    script = f"ip link set lo up && nft '{marking({})}' && tc qdisc add dev lo root handle 1: htb"
    tried = subprocess.run(["unshare", "--net", "sh", "-c", script], capture_output=True, text=True)
    return f"cannot make a network: {tried.stderr.strip()}" if tried.returncode else ""


@contextmanager
def network_of_its_own(stack: StackSettings) -> Iterator[None]:
    """Until the block ends, what this thread starts is in a network of its own, with all links."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/proc/thread-self/ns/net").open() as before:
        check(libc.unshare(CLONE_NEWNET))
        try:
            run("ip", "link", "set", "lo", "up", "mtu", str(MTU))
            run("nft", marking(ports(stack)))
            run("tc", "qdisc", "add", "dev", "lo", "root", "handle", "1:", "htb")
            for mark in MARKS.values():
                shape = ("parent", "1:", "classid", f"1:{mark:x}", "htb", "rate", SLOW_RATE)
                run("tc", "class", "add", "dev", "lo", *shape)
            for ending in ENDINGS:
                (CONNTRACK / f"nf_conntrack_tcp_timeout_{ending}").write_text(str(REMEMBERED_SEC))
            (CONNTRACK / "nf_conntrack_tcp_be_liberal").write_text("1")
            yield
        finally:
            check(libc.setns(before.fileno(), CLONE_NEWNET))


def check(answer: int) -> None:
    """Raises OSError if a function of the C library has failed."""
    if answer:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def ports(stack: StackSettings) -> dict[Machine, str]:
    """Where each machine listens, for nft."""
    spark = {
        Machine.JOB: (DRIVER_PORT, DRIVER_BLOCKS_PORT),
        Machine.WORKER: (WORKER_PORT, EXECUTOR_BLOCKS_PORT),
    }
    return {
        Machine.BROKER: str(stack.kafka_port),
        Machine.ZOOKEEPER: str(stack.zookeeper_port),
        Machine.CLICKHOUSE: str(stack.clickhouse_port),
        Machine.MASTER: str(stack.spark_master_port),
        **{
            machine: ", ".join(f"{first}-{first + SPARK_RETRIES}" for first in firsts)
            for machine, firsts in spark.items()
        },
    }


def marking(ports: dict[Machine, str]) -> str:
    """The table of nft, which marks each connection with its link."""
    rules = [
        f"ct state new meta skgid {opener:d} tcp dport {{ {ports[listener]} }} ct mark set {mark}"
        for link, number in ((LINKS[name], number) for name, number in MARKS.items())
        for client in link.clients
        for opener, listener, mark in (
            (client, link.server, number),
            (link.server, client, number + BACK),
        )
        if listener in ports
    ]
    newline = "\n"
    return f"""
table {NFT_TABLE} {{
    chain marking {{
        type filter hook output priority mangle;
        {newline.join(rules)}
    }}
    chain slowing {{
        type filter hook output priority filter;
    }}
    chain losing {{
        type filter hook input priority filter;
    }}
}}
"""


def of_link(mark: int) -> str:
    """What nft calls a connection with this mark, whether a request was sent there or not."""
    return f"ct mark {{ {mark}, {mark + ASKED} }}"


class Links:
    """The links of the network in which this object is used."""

    @contextmanager
    def losing(self, names: tuple[str, ...], directions: tuple[str, ...]) -> Iterator[None]:
        """Lose packets: to the server ("requests"), to the client ("answers"), or both."""
        rules = []
        for name in names:
            number = MARKS[name]
            if "requests" in directions:
                rules += [(number, "original"), (number + BACK, "reply")]
            if "answers" in directions:
                rules += [(number, "reply"), (number + BACK, "original")]
        lost = [f"{of_link(mark)} ct direction {side} counter drop" for mark, side in rules]
        with self.rules("losing", lost):
            yield

    @contextmanager
    def slow(self, names: tuple[str, ...]) -> Iterator[None]:
        """Pass on SLOW_RATE of each link, both directions together."""
        rules = [
            f"{of_link(mark)} counter meta priority set 1:{MARKS[name]:x}"
            for name in names
            for mark in (MARKS[name], MARKS[name] + BACK)
        ]
        with self.rules("slowing", rules):
            yield

    @contextmanager
    def losing_next_answer(self, name: str) -> Iterator[None]:
        """Lose the answers of each connection from its next request on."""
        number = MARKS[name]
        rules = []
        for mark in (number, number + BACK):
            asked = mark + ASKED
            rules += [
                f"ct mark {mark} ct direction original {LINKS[name].request} ct mark set {asked}",
                f"ct mark {asked} ct direction reply meta length > {HEADERS} counter drop",
            ]
        with self.rules("losing", rules):
            yield

    @contextmanager
    def rules(self, chain: str, rules: list[str]) -> Iterator[None]:
        """Add rules until the block ends. A chain has the rules of one fault at a time."""
        run("nft", "\n".join(f"add rule {NFT_TABLE} {chain} {rule}" for rule in rules))
        try:
            yield
        finally:
            run("nft", f"flush chain {NFT_TABLE} {chain}")

    def packets(self) -> dict[str, int]:
        """How many packets of each link the rules of the moment have met."""
        met = dict.fromkeys(MARKS, 0)
        names = {mark: name for name, mark in MARKS.items()}
        counted = r"ct mark (?:{ )?(0x\w+).* counter packets (\d+)"
        for mark, packets in re.findall(counted, run("nft", "list", "table", *NFT_TABLE.split())):
            met[names[int(mark, 16) % BACK]] += int(packets)
        return {name: packets for name, packets in met.items() if packets}

    def reset(self, name: str) -> int:
        """Reset the connections of a link; returns how many there were.

        Of a link with requests, only those that wait for an answer. Both sides are told, as by a
        firewall in the middle.
        """
        asked = ASKED if LINKS[name].request else 0
        waiting = {MARKS[name] + asked, MARKS[name] + BACK + asked}
        tracked = Path("/proc/thread-self/net/nf_conntrack").read_text()
        found = re.findall(r"ESTABLISHED src=\S+ dst=\S+ sport=(\d+) .*mark=(\d+)", tracked)
        ports = [port for port, mark in found if int(mark) in waiting]
        killed = [run("ss", "-K", "-H", "-t", f"sport = :{port}") for port in ports]
        return sum(map(bool, killed))
