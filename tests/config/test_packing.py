"""Settings of packing: the forms that are accepted, and the mistakes that are refused."""

from collections.abc import Callable
from typing import Any

import pytest
import yaml

from dispatcher.config.packing import own_fields
from dispatcher.config.settings import Config

Mistake = Callable[..., str]


def text(packing: dict[str, Any], **sections: Any) -> str:
    return yaml.safe_dump(
        {"endpoint": "churn", "source": {"path": "in.jsonl"}, "packing": packing, **sections}
    )


KEYED = {"path": "in.jsonl", "key": "id"}
GOOD: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"encodings": ["json", "json+gzip", "msgpack+zstd", "raw"]}, {}),
    ({"encodings": ["json", "json+zstd"], "framing": "lines", "max_records": 5}, {}),
    ({"encodings": ["msgpack+gzip"], "framing": "msgpack-array", "max_records": 5}, {}),
    (
        {
            "framing": "template",
            "template": '{"instances": [...]}',
            "answer": {"list": "/predictions"},
            "max_records": 5,
        },
        {},
    ),
    ({"framing": "template", "template": "[...]", "answer": {"list": ""}}, {}),
    ({"answer": {"framing": "lines", "list": ""}}, {}),
    ({"answer": {"framing": "array", "list": "/p"}, "framing": "lines", "max_records": 5}, {}),
    ({"select": "{x: a.b[0], n: length(c), s: sort_by(d, &e)[::2], j: join(',', f)}"}, {}),
    ({"select": "not_null(a, b, c) || merge(a, b)"}, {}),
    ({"answer": {"list": "/a~1b/0/c~0d"}}, {}),
    ({"answer": {"id": "id"}, "framing": "lines", "max_records": 5}, {"source": KEYED}),
    ({"encodings": ["json", "json+gzip"]}, {"request": {"content_type": "application/x"}}),
    (
        {"encodings": ["json", "msgpack"], "content_types": {"msgpack": "application/y"}},
        {"request": {"content_type": "application/x"}},
    ),
]


@pytest.mark.parametrize(("packing", "sections"), GOOD)
def test_what_fits_together(
    load: Callable[[str], Config], packing: dict[str, Any], sections: dict[str, Any]
) -> None:
    loaded = load(text(packing, **sections)).packing.model_dump(exclude_unset=True)
    assert loaded == packing


_NO_LIST = (
    "packing: framing template needs answer.list, the JSON pointer to the outputs in the response, "
    'such as /predictions; write "" where the response itself is the list'
)

WRONG: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"encodings": []}, {}, "packing.encodings must have at least 1 entry"),
    ({"encodings": ["json", "json"]}, {}, "packing.encodings: an encoding is named twice"),
    (
        {"max_records": 9},
        {},
        (
            "packing: framing none sends one record an invocation; to send up to 9 set framing to "
            "lines, json-array, msgpack-array or template"
        ),
    ),
    (
        {"encodings": ["json", "msgpack+zstd"], "framing": "lines"},
        {},
        (
            "packing: encoding msgpack+zstd cannot be framed as lines; with it, framing is none or "
            "msgpack-array"
        ),
    ),
    (
        {"encodings": ["raw"], "framing": "json-array"},
        {},
        "packing: encoding raw cannot be framed as json-array; with it, framing is none",
    ),
    (
        {"framing": "msgpack-array"},
        {},
        (
            "packing: encoding json cannot be framed as msgpack-array; with it, framing is none or "
            "lines or json-array or template"
        ),
    ),
    (
        {"framing": "template"},
        {},
        (
            "packing: framing template and the key template belong together, such as "
            "template: '{\"instances\": [...]}'"
        ),
    ),
    (
        {"framing": "lines", "template": "[...]"},
        {},
        (
            "packing: framing template and the key template belong together, such as "
            "template: '{\"instances\": [...]}'"
        ),
    ),
    ({"framing": "template", "template": "[...]"}, {}, _NO_LIST),
    (
        {"framing": "template", "template": "[...]", "answer": {"framing": "array"}},
        {},
        _NO_LIST,
    ),
    (
        {"answer": {"framing": "lines", "list": "/p"}},
        {},
        (
            "packing.answer: list points to /p in a document, but with framing lines a response is "
            "not one document; set framing to auto or array"
        ),
    ),
    *(
        (
            {"framing": "template", "template": template, "answer": {"list": "/p"}},
            {},
            (
                "packing: template must be JSON with [...] in the place of the records, once, "
                'such as {"instances": [...]}'
            ),
        )
        for template in (
            '{"instances": []}',
            '{"instances": [...]',
            '{"a": [...], "b": [...]}',
            '{"a": "[...]"}',
            '{"[...]": 1}',
        )
    ),
    ({"select": "a.["}, {}, "packing.select: 'a.[' is no JMESPath expression: "),
    ({"select": ""}, {}, "packing.select must be at least 1 character long"),
    (
        {"select": "{n: lenght(a)}"},
        {},
        "packing.select: '{n: lenght(a)}': JMESPath has no function lenght; did you mean length?",
    ),
    ({"select": "qwrtz(a)"}, {}, "packing.select: 'qwrtz(a)': JMESPath has no function qwrtz"),
    (
        {"select": "a[?length(b, c) > `1`]"},
        {},
        "packing.select: 'a[?length(b, c) > `1`]': length takes 1 argument, not 2",
    ),
    (
        {"select": "merge()"},
        {},
        "packing.select: 'merge()': merge takes at least 1 argument",
    ),
    ({}, {"sink": {"select": "a.["}}, "sink.select: 'a.[' is no JMESPath expression: "),
    (
        {"answer": {"list": "predictions"}},
        {},
        "packing.answer.list: 'predictions' is no JSON pointer; write it like /predictions",
    ),
    ({"answer": {"list": "/a~2"}}, {}, "packing.answer.list: '/a~2' is no JSON pointer"),
    (
        {"answer": {"id": "id"}},
        {},
        (
            "packing.answer.id finds the output of a record by its key: set source.key to the "
            "field of a record that the container copies into its output"
        ),
    ),
    (
        {"encodings": ["json", "json+gzip", "msgpack"]},
        {"request": {"content_type": "application/x"}},
        (
            "request.content_type would label json and msgpack alike; give each encoding its "
            "own in packing.content_types"
        ),
    ),
    (
        {"content_types": {"json": "caf\u00e9"}},
        {},
        "packing.content_types.json must be printable ASCII characters",
    ),
    (
        {"encodings": ["json", "msgpack"], "content_types": {"json+zstd": "application/x"}},
        {},
        "packing: content_types names json+zstd, which is not in encodings: json, msgpack",
    ),
]


@pytest.mark.parametrize(("packing", "sections", "sentence"), WRONG)
def test_what_does_not_fit_is_refused_with_the_remedy(
    mistake: Mistake, packing: dict[str, Any], sections: dict[str, Any], sentence: str
) -> None:
    assert sentence in mistake(text(packing, **sections))


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("@", set()),
        ("[@, `1`, 'a', keys(@)]", set()),
        ("a.b.c", {"a"}),
        ("@.a | b", {"a"}),
        ('"a b"[0].c', {"a b"}),
        ("a[0:2]", {"a"}),
        ("[a, b.c, {d: e, f: g[*].h}]", {"a", "b", "e", "g"}),
        ("a.[b, {c: d}]", {"a"}),
        ("a | [b, c]", {"a"}),
        ("a || b && !c", {"a", "b", "c"}),
        ("a == b.c", {"a", "b"}),
        ("a[?b == `1` && c].d", {"a"}),
        ("a[].b", {"a"}),
        ("*.a", set()),
        ("[?a]", set()),
        ("sort_by(a, &b)[0].c", {"a"}),
        ("map(&length(a), b)", {"b"}),
        ("length(a) > length(b.c)", {"a", "b"}),
    ],
)
def test_what_an_expression_takes_of_the_value_itself(expression: str, names: set[str]) -> None:
    assert own_fields(expression) == names
