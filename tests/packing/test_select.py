"""JMESPath selections of records, and the expressions that are refused."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.packing.select import SelectError, select
from dispatcher.packing.values import encode, parse


@pytest.mark.parametrize(
    ("expression", "selected"),
    [
        ("features", [1, 2.5]),
        ("{x: features[0], id: id}", {"x": 1, "id": "a"}),
        ("[id, missing]", ["a", None]),
        ("missing.deeper", None),
        ("sum(features)", 3.5),
        ("@", {"id": "a", "features": [1, 2.5]}),
    ],
)
def test_a_value_is_reshaped(expression: str, selected: Any) -> None:
    assert select(expression, {"id": "a", "features": [1, 2.5]}) == selected


@given(number=st.integers(-(10**40), 10**40))
def test_digits_are_kept(number: int) -> None:
    raw = b'{"a":[{"n":%d}],"b":null}' % number
    reshaped = select(
        "{n: a[0].n, all: a[?n > `0` || n <= `0`].n, text: to_string(a[0].n)}", parse(raw)
    )
    assert encode(reshaped, "json") == b'{"n":%d,"all":[%d],"text":"%d"}' % ((number,) * 3)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("length(a)", {"a": 5}),
        ("sum(a)", {"a": ["x"]}),
        ("avg(a)", {"a": [10**400, 1]}),
        ("a[::0]", {"a": [1]}),
        ("sort(a)", {"a": [1, "x"]}),
        ("max_by(a, &b)", {"a": [{"b": None}]}),
    ],
)
def test_an_expression_that_fails_says_so(expression: str, value: Any) -> None:
    with pytest.raises(SelectError, match=r"fails: ."):
        select(expression, value)


def test_one_value_says_nothing_of_the_next() -> None:
    with pytest.raises(SelectError):
        select("length(a)", {"a": 5})
    assert select("length(a)", {"a": [5, 6]}) == 2
    assert select("length(b)", {"b": "xyz"}) == 3
