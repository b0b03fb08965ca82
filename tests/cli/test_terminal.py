"""Data goes to standard output, messages to standard error, wrapped for a terminal."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dispatcher.cli.terminal import paragraph, write_data, write_message


class TerminalStream(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_data_and_messages_go_to_streams_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    write_data("data")
    write_message("message")
    assert capsys.readouterr() == ("data\n", "message\n")


def test_a_closed_standard_error_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    write_message("message")


def test_a_reader_that_leaves_is_no_error(folder: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    result = subprocess.run(
        [sys.executable, "-m", "dispatcher", "schema"],
        stdout=writing,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writing)
    assert result.stderr == b""
    assert result.returncode == 0


def test_a_paragraph_is_wrapped_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    monkeypatch.setenv("NO_COLOR", "1")
    text = paragraph("error:", "word " * 30 + "a-very-long/path/" * 5, TerminalStream())
    lines = text.splitlines()
    assert len(lines) > 3
    assert all(line.startswith("       ") for line in lines[1:])
    assert all(len(line) < 50 for line in lines[:-1])
    assert lines[-1].strip() == "a-very-long/path/" * 5


def test_a_paragraph_is_one_line_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    assert "\n" not in paragraph("error:", "word " * 30, io.StringIO())


def test_the_label_is_red_where_colour_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert paragraph("error:", "x", TerminalStream()).startswith("\x1b[31m")
    assert paragraph("error:", "x", io.StringIO()) == "error: x"
    monkeypatch.setenv("NO_COLOR", "1")
    assert paragraph("error:", "x", TerminalStream()) == "error: x"
