"""The tree of errors in the docstring is the tree of the classes."""

import re

from dispatcher import errors


def test_the_drawn_tree_is_the_real_one() -> None:
    assert errors.__doc__ is not None
    parents: dict[int, str] = {}
    drawn: dict[str, str] = {}
    for line in errors.__doc__.splitlines():
        if match := re.match(r"    ([\s│├└─]*)(\w+)(?:\s{2,}|$)", line):
            depth = len(match[1])
            parents = {at: name for at, name in parents.items() if at < depth}
            drawn[match[2]] = parents[max(parents)] if parents else "Exception"
            parents[depth] = match[2]
    real = {
        name: kind.__base__.__name__
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and kind.__base__ is not None
    }
    assert drawn == real


def test_an_error_is_its_sentence_with_the_code_beside_it() -> None:
    for kind in (errors.Denied, errors.Throttled):
        error = kind("no", code="AccessDenied")
        assert (str(error), error.code) == ("no", "AccessDenied")
