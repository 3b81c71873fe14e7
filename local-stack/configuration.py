"""The configuration of supervisord, made from the table of services."""

import shlex
from collections.abc import Collection, Mapping
from configparser import RawConfigParser

import secured
from paths import LOCAL_STACK
from ports import StackSettings
from services import Service, services_of
from supervision import socket_path

# Of every service. They cannot be in supervisor's [DEFAULT] section: [rpcinterface:...] would get
# them too, and it accepts no options.
SHARED_OPTIONS = {
    "autorestart": "true",
    # Immediately; at longer and longer intervals if the service ran for less than a second.
    "startretries": "1000",
    # A stop signals only the service, as `docker stop` does. If it has not ended after 30 s, it is
    # killed with all its children.
    "stopwaitsecs": "30",
    "killasgroup": "true",
    "redirect_stderr": "true",
    "stdout_logfile": "log/%(program_name)s.log",
    "stdout_logfile_maxbytes": "10MB",
}
RUNS_ONCE_OPTIONS = {"startsecs": "0", "autorestart": "unexpected"}


def configuration(
    stack: StackSettings, services: Collection[str], changes: Mapping[str, str]
) -> RawConfigParser:
    """The configuration of supervisord for the folder of the stack, where it runs.

    It knows all services and starts the given ones. Variables that the table of services sets have
    the values of `changes`, if they are in there. It can express all paths that
    `paths.is_usable` allows.
    """
    parser = RawConfigParser()
    parser["unix_http_server"] = {"file": escaped(str(socket_path(stack))), "chmod": "0700"}
    parser["rpcinterface:supervisor"] = {
        "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"
    }
    parser["supervisord"] = {
        "logfile": "log/supervisord.log",
        "logfile_maxbytes": "1MB",
        "logfile_backups": "1",
        "silent": "true",  # on its standard output, which nobody rotates
    }
    for service in services_of(stack).values():
        parser[f"program:{service.name}"] = {
            **SHARED_OPTIONS,
            **(RUNS_ONCE_OPTIONS if service.runs_once else {}),
            "autostart": str(service.name in services).lower(),
            "priority": str(service.stop_order),
            "command": escaped(command(service, stack)),
            "environment": escaped(environment(service, stack, changes)),
        }
    return parser


def command(service: Service, stack: StackSettings) -> str:
    folder = () if service.folder == "." else ("--folder", service.folder)
    launch = ("python", str(LOCAL_STACK / "launch.py"), *folder, service.name)
    words = secured.command(service.name, service.command) if stack.secure else service.command
    return shlex.join([*launch, *(service.filled_in(word, stack) for word in words)])


def environment(service: Service, stack: StackSettings, changes: Mapping[str, str]) -> str:
    """Pairs as supervisor reads them, which knows quotation marks but no escape character."""
    values = {
        name: changes.get(name, service.filled_in(text, stack))
        for name, text in service.environment.items()
    }
    if stack.secure and "KAFKA_BOOTSTRAP_SERVERS" in values:
        values |= secured.login(service.name, stack)
    quotes = {name: "'" if '"' in value else '"' for name, value in values.items()}
    return ",".join(f"{name}={quotes[name]}{value}{quotes[name]}" for name, value in values.items())


def escaped(option: str) -> str:
    """The option as supervisor reads it, which fills in names after %."""
    return option.replace("%", "%%")
