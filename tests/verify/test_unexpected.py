"""What nobody expected ends verify with one line, never with a traceback."""

import pytest
from kafka.errors import KafkaTimeoutError

import verify


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (RuntimeError("\nthe first line\nanother one"), "RuntimeError: the first line"),
        (KafkaTimeoutError("no answer"), "KafkaTimeoutError: no answer"),
        (ValueError(), "ValueError"),
    ],
)
def test_an_unexpected_error_is_one_line_and_exit_code_1(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    line: str,
) -> None:
    def raise_error(*_: object) -> None:
        raise error

    monkeypatch.setattr(verify, "RawTopic", raise_error)
    assert verify.main([]) == 1
    assert capsys.readouterr() == ("", f"unexpected error: {line}\n")
