"""What a user sees of a stack: the state of each service, and what to do next."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import probes
from launch import running_pid
from ports import StackSettings
from services import services_of
from supervision import SUPERVISORD


class ServiceStatus(NamedTuple):
    """A service, its process, and why it does not answer as it should (empty if it does)."""

    name: str
    state: str
    pid: int  # 0 if it has no process
    uptime_sec: float
    address: str
    problem: str


def service_status(
    stack: StackSettings, name: str, process: Mapping[str, Any] | None
) -> ServiceStatus:
    """Look at one service. `process` is what supervisord says about it, None if it does not run."""
    service = services_of(stack)[name]
    address = service.filled_in(service.address, stack)
    if process is None:
        pid = running_pid(stack.directory, name) or 0
        if running_pid(stack.directory, SUPERVISORD):
            return ServiceStatus(name, "UNKNOWN", pid, 0, address, "supervisord does not answer")
        state = "ORPHANED" if pid else "STOPPED"
        return ServiceStatus(name, state, pid, 0, address, "is not supervised")
    state = process["statename"]
    is_running = state in ("STARTING", "RUNNING")
    is_done = service.runs_once and state == "EXITED" and process["exitstatus"] == 0
    problem = f"is {state}"
    if is_running or is_done:
        problem = probes.problem(service.probe, service.seen_from_here(stack))
    # Not below 0, even if the clock has been set back.
    uptime_sec = max(process["now"] - process["start"], 0) if is_running else 0
    return ServiceStatus(name, state, process["pid"], uptime_sec, address, problem)


def table(statuses: Sequence[ServiceStatus]) -> str:
    """The statuses in columns, with the address of a service, or its problem if it has one."""
    lines = [f"{'service':<21} {'state':<9} {'pid':>7} {'up':>7}  answers  address"]
    for status in statuses:
        uptime = f"{status.uptime_sec:.0f} s" if status.uptime_sec else "-"
        lines.append(
            f"{status.name:<21} {status.state:<9} {status.pid or '-':>7} {uptime:>7}"
            f"  {'no' if status.problem else 'yes':<7}  {status.problem or status.address}"
        )
    return "\n".join(lines)


def next_steps(stack: StackSettings) -> str:
    """What a user may do with a stack that runs, in commands that name its ports and folder."""

    def moved(variable: str, value: object, usual: object) -> str:
        return "" if value == usual else f"{variable}={shlex.quote(str(value))} "

    servers = stack.servers("kafka", stack.kafka_port, "localhost")
    servers = moved("KAFKA_BOOTSTRAP_SERVERS", servers, f"localhost:{StackSettings.kafka_port}")
    kafka = moved("KAFKA_PORT", stack.kafka_port, StackSettings.kafka_port)
    native = moved("CLICKHOUSE_PORT", stack.clickhouse_port, StackSettings.clickhouse_port)
    http = moved(
        "CLICKHOUSE_HTTP_PORT", stack.clickhouse_http_port, StackSettings.clickhouse_http_port
    )
    site = f"http://localhost:{stack.clickhouse_http_port}/analytics"
    send = ".venv/bin/python producer/producer.py"
    login = stack.directory / "security" / "producer.env"
    send = f"(set -a; . {login}; {send})" if stack.secure else f"{servers}{send}"
    cluster = "CLUSTER=1 " if stack.cluster else ""
    usual = StackSettings.from_env({"CLUSTER": "1" if stack.cluster else ""})
    folder = moved("STACK_DIR", stack.directory, usual.directory)
    proof = f"{kafka}{native}make verify"
    if stack.cluster:
        proof += f"; {kafka}CLICKHOUSE_PORT={stack.block(stack.clickhouse_port)[1]} make verify"
    return f"""
Everything runs. Logs: {stack.directory / "log"}
  send transactions   {send}
  watch the sales     {site} (user consumer, password MySecret)
  look at a topic     {kafka}make topics TOPIC=transactions_agg
  query               {http}make query
  prove the numbers   {proof}
  stop                {cluster}{folder}make local-down"""
