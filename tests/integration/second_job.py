"""A job beside that of the stack, on topics of its own."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from paths import PROJECT
from pipeline import PYTHON, Pipeline
from waiting import eventually

EXIT_SEC = 120


class SecondJob:
    """Its topics and its checkpoint, under one name; runs of it go on from each other."""

    def __init__(self, pipeline: Pipeline, name: str) -> None:
        self.pipeline = pipeline
        self.raw_topic, self.agg_topic = f"{name}_raw", f"{name}_agg"
        self.checkpoint = pipeline.stack.directory / name
        self.log_file = pipeline.stack.log_file(name)
        pipeline.create_topics(self.raw_topic, self.agg_topic)

    @contextmanager
    def running(self, **settings: str) -> Iterator["subprocess.Popen[str]"]:
        """The job in one process, killed at the end of the block. Starts with an empty log."""
        defaults = {
            "SPARK_MASTER": "local[1]",
            "SPARK_LOCAL_IP": "127.0.0.1",
            "RAW_TOPIC": self.raw_topic,
            "AGG_TOPIC": self.agg_topic,
            "CHECKPOINT_LOCATION": str(self.checkpoint),
        }
        with self.log_file.open("w") as log:
            process = subprocess.Popen(
                [PYTHON, PROJECT / "spark-job" / "stream_job.py"],
                env=self.pipeline.environment(**{**defaults, **settings}),
                cwd=self.pipeline.stack.directory,
                stderr=log,
                text=True,
            )
            try:
                yield process
            finally:
                process.kill()
                process.wait()

    def run_first_batch(self, **settings: str) -> None:
        """Run until a first batch is committed, then stop cleanly."""
        with self.running(**settings) as process:
            eventually((self.checkpoint / "commits" / "0").exists, "the batch is committed")
            process.terminate()
            assert process.wait(EXIT_SEC) == 0, self.log()

    def run_until_it_fails(self, **settings: str) -> str:
        """Run until it exits, which must be with code 1; returns the last line that it logs."""
        with self.running(**settings) as process:
            assert process.wait(EXIT_SEC) == 1, self.log()
        return self.log().splitlines()[-1]

    def log(self) -> str:
        return self.log_file.read_text(errors="replace")
