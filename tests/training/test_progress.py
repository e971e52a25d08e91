"""Progress on a terminal and in a log file."""

import io
import sys

import pytest

from zoo.training import Progress
from zoo.training.progress import format_rate


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_log_file_gets_a_line_now_and_then_and_one_at_the_end(capsys, monkeypatch):
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    with Progress(100, title="toy train") as progress:
        for _ in range(100):
            now += 1.0
            progress.advance({"loss": 0.12345})
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    assert lines[0] == "toy train  30/100 (30%)  1 steps/s  ETA 0:01:10  loss 0.1235"
    assert lines[-1].startswith("toy train  100/100 (100%)")


def test_steps_of_an_earlier_process_do_not_count_for_the_rate(monkeypatch):
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    progress = Progress(1000, first=900)
    now = 20.0
    for _ in range(10):
        progress.advance()
    assert progress.line() == "910/1000 (91%)  2 s/step  ETA 0:03:00"


@pytest.mark.parametrize(
    ("rate", "text"), [(0.0, "0 steps/s"), (0.25, "4 s/step"), (1234.5, "1.23e+03 steps/s")]
)
def test_a_rate_is_readable(rate, text):
    assert format_rate(rate) == text


def test_a_terminal_gets_a_bar(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    with Progress(7, title="toy") as progress:
        for step in range(7):
            progress.advance({"loss": step / 2})
    text = sys.stderr.getvalue()
    assert "7/7" in text
    assert "loss 3" in text
    assert "\x1b[" in text


def test_other_processes_are_silent(capsys):
    with Progress(3, enabled=False) as progress:
        for _ in range(3):
            progress.advance()
    assert capsys.readouterr() == ("", "")


def test_a_loop_with_nothing_left_to_do_says_nothing(capsys):
    with Progress(3, first=3):
        pass
    assert capsys.readouterr().err == ""
