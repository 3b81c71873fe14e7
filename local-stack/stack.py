"""The services of docker-compose.yml as processes of this machine.

supervisord runs the services and starts them again when they end. This program starts and stops
supervisord, and knows whether the services really answer. A stack writes only to its folder and all
its ports can be changed, so several stacks can run side by side.
"""

import argparse
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence

from supervisor.xmlrpc import Faults

import supervision
from checks import check_ports, check_same_ports, check_startable, check_user
from configuration import configuration
from launch import running_pid
from paths import PROJECT, TOOLS, VENV
from ports import SettingsError, StackSettings, is_free, read_json
from services import SERVICES, ports_of, services_of
from status import ServiceStatus, next_steps, service_status, table
from supervision import StackError, eventually, ignoring_fault, supervisor

__all__ = ["PROJECT", "SERVICES", "TOOLS", "VENV", "SettingsError", "Stack", "StackError"]

READY_SEC = 120.0
STOP_SEC = 90.0
MAX_STARTS = (
    6  # while waiting; a broker needs up to 4 until the session of a killed one has expired
)


class Stack(StackSettings):
    """One stack: its settings, and what can be done with it. All methods may raise StackError."""

    @property
    def services(self) -> list[str]:
        """Their names, in the order of the data flow."""
        return list(services_of(self))

    def up(
        self,
        environment: Mapping[str, str] | None = None,
        deadline_sec: float = READY_SEC,
        say: Callable[[str], None] = print,
        services: Collection[str] = (),
    ) -> None:
        """Start these services, by default all, unless they were started before; return once they
        answer.

        Services that start together with supervisord inherit `environment`, for example WATERMARK.
        It also replaces what the table of services sets, for example CHECKPOINT_LOCATION.
        A stack that starts here and does not answer within the deadline is stopped again.
        """
        services = services or self.services
        if self.is_up():
            supervision.check_answers(self)
            say(f"The stack in {self.directory} is already running.")
            self._start_missing(services)
            self.wait_until_healthy(deadline_sec, say, services)
            return
        check_startable(self)
        check_user(services)
        conf = configuration(self, services, environment or {})
        orphans = supervision.stop_orphans(self)
        if orphans:
            say(f"Stopped what a killed supervisord had left: {', '.join(orphans)}")
        check_ports(services, self)
        is_all = len(services) == len(self.services)
        what = f"{len(services)} services" if is_all else ", ".join(services)
        say(f"Starting {what} in {self.directory}")
        try:
            self._choose(services)
            supervision.start_supervisord(self, conf, environment or {})
            self.wait_until_healthy(deadline_sec, say, services)
        except BaseException:
            self.down(say)
            raise

    def down(self, say: Callable[[str], None] = print) -> None:
        """Stop what runs in this folder, against the flow of the data."""
        start = time.monotonic()
        was_up = self.is_up()
        if was_up:
            supervision.stop_supervisord(self, STOP_SEC)
        orphans = supervision.stop_orphans(self)
        if not (was_up or orphans):
            say(f"Nothing runs in {self.directory}")
            return
        ports = ports_of(self.chosen_services(), self)
        eventually(lambda: all(map(is_free, ports)), STOP_SEC, "a port was not released")
        what = "all services" if was_up else f"{', '.join(orphans)} (left by a killed supervisord)"
        say(f"Stopped {what} in {time.monotonic() - start:.1f} s; the data stays.")

    def status(self, services: Collection[str] | None = None) -> list[ServiceStatus]:
        """What is known about these services, by default about those that `up` started."""
        names = self.chosen_services() if services is None else services
        processes = supervision.processes(self)
        return [service_status(self, name, processes.get(name)) for name in names]

    def wait_until_healthy(
        self,
        deadline_sec: float = READY_SEC,
        say: Callable[[str], None] = print,
        services: Collection[str] | None = None,
    ) -> None:
        """Return once every service answered. Raises StackError with the log of one that does not.

        By default, waits for the services that `up` started.
        """
        start = time.monotonic()
        chosen = self.chosen_services() if services is None else services
        # In the order of the data flow: the first service to fail is the cause.
        for name in (name for name in self.services if name in chosen):
            status = self._wait_for(name, start, deadline_sec)
            elapsed_sec = time.monotonic() - start
            say(f"  {name:<21} ready after {elapsed_sec:4.1f} s  {status.address}")

    def _wait_for(self, service: str, start: float, deadline_sec: float) -> ServiceStatus:
        pids = set()
        while (status := self.status([service])[0]).problem:
            pids.add(status.pid)
            starts = len(pids - {0})
            elapsed_sec = time.monotonic() - start
            if elapsed_sec > deadline_sec or starts > MAX_STARTS:
                raise StackError(
                    f"{service} is not ready after {elapsed_sec:.0f} s: {status.problem}"
                    f" ({status.state}, started {starts} times meanwhile);"
                    f" the end of its log:\n{self.log_tail(service)}"
                )
            time.sleep(0.2)
        return status

    def is_up(self) -> bool:
        """Whether supervisord runs, even if it is just ending."""
        return supervision.is_up(self)

    def pid(self, service: str) -> int:
        """The process of a service or "supervisord", 0 if it has none. The stack must be up."""
        if service == supervision.SUPERVISORD:
            return running_pid(self.directory, service) or 0
        return int(supervisor(self).getProcessInfo(service)["pid"])

    def stop(self, service: str) -> None:
        """Stop one service and return when it has ended; it stays stopped until `start`."""
        ignoring_fault(Faults.NOT_RUNNING, supervisor(self).stopProcess, service)

    def start(self, service: str) -> None:
        """Start one service; returns at once."""
        ignoring_fault(Faults.ALREADY_STARTED, supervisor(self).startProcess, service, False)

    def log_tail(self, service: str, lines: int = 20) -> str:
        log = self.log_file(service)
        text = log.read_text(errors="replace") if log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def chosen_services(self) -> list[str]:
        """The services that `up` was asked to start since the stack last started."""
        chosen = read_json(self.directory / "services.json")
        return chosen if isinstance(chosen, list) else self.services

    def _start_missing(self, services: Collection[str]) -> None:
        """Start those of the services that a running stack was not asked to start before."""
        check_same_ports(self)
        chosen = self.chosen_services()
        missing = [name for name in services if name not in chosen]
        check_ports(missing, self)
        self._choose([*chosen, *missing])
        for name in missing:
            self.start(name)

    def _choose(self, services: Collection[str]) -> None:
        chosen = [name for name in self.services if name in services]
        (self.directory / "services.json").write_text(json.dumps(chosen))


def parse(arguments: Sequence[str], services: Sequence[str] = SERVICES) -> argparse.Namespace:
    def known_service(name: str) -> str:
        if name not in services:
            raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(services)}")
        return name

    parser = argparse.ArgumentParser(description="Run the pipeline without Docker.")
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start the services, return once they answer")
    up.add_argument("service", nargs="*", type=known_service, help="default: all services")
    up.add_argument(
        "--timeout", type=float, default=READY_SEC, metavar="SEC", help="default: %(default).0f"
    )
    commands.add_parser("status", help="show each service; exit 1 if one does not answer")
    commands.add_parser("down", help="stop the services; their data stays")
    return parser.parse_args(arguments)


def run(stack: Stack, given: argparse.Namespace) -> int:
    if given.command == "up":
        stack.up(deadline_sec=given.timeout, services=given.service or stack.services)
        if not given.service:
            print(next_steps(stack))
        return 0
    # With the ports it was started with, even if the environment names others now.
    stack = Stack.last_started_in(stack.directory) or stack
    if given.command == "down":
        stack.down()
        return 0
    statuses = stack.status()
    print(table(statuses))
    return 1 if any(status.problem for status in statuses) else 0


def main(arguments: Sequence[str]) -> int:
    logging.basicConfig(level=logging.CRITICAL)  # the table says which probes failed
    try:
        stack = Stack.from_env(os.environ)
        return run(stack, parse(arguments, stack.services))
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    except (StackError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
