"""supervisord goes on when it cannot write its logs."""

import resource
from pathlib import Path

import pytest

from stack import Stack
from supervision import eventually

NO_FILE_MAY_GROW = 1  # bytes


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="needs Linux")
def test_supervisord_survives_logs_that_cannot_be_written(tmp_path: Path) -> None:
    stack = Stack.on_free_ports(tmp_path)
    stack.up(services=[], say=lambda _: None)
    try:
        log = tmp_path / "log" / "supervisord.log"
        pid = stack.pid("supervisord")
        _, hard = limits = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        stack.start("topics")  # waits for a broker
        eventually(lambda: "spawned: 'topics'" in log.read_text(), 60, "not spawned")

        resource.prlimit(pid, resource.RLIMIT_FSIZE, (NO_FILE_MAY_GROW, hard))
        stack.stop("topics")
        size = log.stat().st_size
        assert stack.pid("supervisord") == pid
        assert stack.status(["topics"])[0].state == "STOPPED"

        resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)
        stack.start("topics")
        eventually(lambda: "spawned: 'topics'" in log.read_text()[size:], 60, "not logged")
    finally:
        stack.down(say=lambda _: None)
