"""JSON pointers are read as RFC 6901 says."""

import pytest

from dispatcher.packing.json_pointer import names_of


@pytest.mark.parametrize(
    ("pointer", "names"),
    [
        ("", []),
        ("/", [""]),
        ("/a/b", ["a", "b"]),
        ("/a//0", ["a", "", "0"]),
        ("/a~1b/m~0n", ["a/b", "m~n"]),
        ("/~01", ["~1"]),
    ],
)
def test_a_pointer_is_a_list_of_names(pointer: str, names: list[str]) -> None:
    assert names_of(pointer) == names
