"""The console prints text as it is, and its reader may leave."""

import io

import pytest

from dispatcher.observe.console import open_console


class Closed(io.StringIO):
    """A pipe whose reader has gone."""

    def write(self, _: str) -> int:
        raise BrokenPipeError


@pytest.mark.parametrize("text", ["[red]x[/red]", ":smile: 12 'a'", "x" * 500, "[/nothing]"])
def test_text_is_printed_as_it_is(text: str) -> None:
    stream = io.StringIO()
    open_console(stream).print(text)
    assert stream.getvalue() == f"{text}\n"


def test_a_reader_that_leaves_is_an_ordinary_error_and_no_exit() -> None:
    with pytest.raises(BrokenPipeError):
        open_console(Closed()).print("text")
