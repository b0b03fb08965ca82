"""Signatures against botocore's signer, byte for byte, and against AWS's published vectors."""

import hashlib
from calendar import timegm
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

import pytest
from botocore.auth import SIGNED_HEADERS_BLACKLIST, UNSIGNED_PAYLOAD
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.aws.direct import sigv4
from dispatcher.aws.direct.sigv4 import (
    UNSIGNED_HEADERS,
    Keys,
    Signer,
    canonical_headers,
    canonical_path,
    canonical_query,
    canonical_value,
)
from tests.aws.reference import signed_by_botocore, texts

NOTHING = hashlib.sha256().hexdigest()
thousands = settings(max_examples=500, derandomize=True, database=None, deadline=None)
"""For each of four services; the same requests in every run."""


@dataclass
class Case:
    """A request that is not signed yet."""

    service: str
    region: str
    keys: Keys
    method: str
    scheme: str
    authority: str
    path: str
    query: str
    headers: list[tuple[str, str]]
    body: bytes
    signs_body: bool
    now: float

    @property
    def url(self) -> str:
        query = f"?{self.query}" if self.query else ""
        return f"{self.scheme}://{self.authority}{self.path}{query}"

    def by_botocore(self) -> Any:
        headers, context = list(self.headers), {}
        if not self.signs_body:
            if self.service == "s3":
                headers.append(("Content-MD5", "xUF1c"))
                context = {"has_streaming_input": True}
            else:
                context = {"payload_signing_enabled": False}
        return signed_by_botocore(
            self.service,
            self.region,
            self.keys,
            self.method,
            self.url,
            headers=headers,
            body=self.body,
            now=self.now,
            context=context,
        )

    def by_us(self, sent: Sequence[tuple[str, str]], signer: Signer) -> str:
        """Sign what botocore sends."""
        stamp = signer.stamp(self.now)
        headers = [("Host", self.authority), *sent]
        assert ("X-Amz-Date", stamp) in headers
        payload_hash = hashlib.sha256(self.body).hexdigest()
        if not self.signs_body:
            payload_hash = UNSIGNED_PAYLOAD
        lines, names = canonical_headers(headers)
        return signer.authorization(
            self.method,
            canonical_path(self.path, self.service),
            canonical_query(self.query),
            lines=lines,
            names=names,
            payload_hash=payload_hash,
            keys=self.keys,
            stamp=stamp,
        )


odd = texts(
    "aZ09  +%//...~'\"*!()&=;,:@$?#[]{}|\\^`<>-_\t\n\0\x7f\x85\xa0ä\u017f漢😀",
    exclude_categories=["Cs"],
)
"""Any text, in which what is treated in some special way comes up more often."""

segments = st.one_of(
    st.sampled_from(["", ".", "..", "...", "%2F", "%2e%2E", "%2e", "%41", "~", "a+b", "a b"]),
    odd.map(lambda text: quote(text, safe="~")),
    # What some client or proxy leaves as it is, in an endpoint's own path.
    st.text("aZ0!$&'()*+,:;=@-._~%", max_size=6),
)
paths = st.one_of(
    st.lists(segments, max_size=7).map(lambda parts: "/" + "/".join(parts)), st.just("")
)
s3_keys = st.one_of(
    odd, st.lists(st.one_of(odd, st.sampled_from(["", ".", "..", "..."])), max_size=6).map("/".join)
)
s3_paths = s3_keys.map(lambda key: "/" + quote(key, safe="/~"))

words = odd.map(lambda text: quote(text, safe="-_.~"))
parameters = st.one_of(
    st.tuples(words, words).map("=".join),
    st.sampled_from(["", "=", "a", "a=", "=a", "a=1", "a=2", "a=1=2", "A=1", "a.=1", "%20=%20"]),
)
queries = st.lists(parameters, max_size=6).map("&".join)

names = st.one_of(
    st.sampled_from(
        ["Content-Type", "content-TYPE", "Range", "X-Amz-Target", "x-amzn-query-mode", "x-Amz-Z"]
    ),
    st.sampled_from(["User-Agent", "user-agent", "Expect", "Transfer-Encoding", "X-Amzn-Trace-Id"]),
    st.text("aAbBzZ09!#$%&'*+.^_`|~-", min_size=1, max_size=6),
)
values = st.one_of(
    st.sampled_from(["", " ", "a", "a  b", "\t a\t b ", "first\n  folded", '"a   b"', "a,b, c"]),
    odd.filter(lambda text: "\r" not in text),
)
headers = st.lists(st.tuples(names, values), max_size=7)

all_keys = st.builds(
    Keys,
    st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", min_size=1, max_size=32),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=90),
    st.none() | st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1),
)
moments = st.integers(0, 4_102_444_800).map(float)


def cases(service: str) -> st.SearchStrategy[Case]:
    return st.builds(
        Case,
        service=st.just(service),
        region=st.sampled_from(["us-east-1", "cn-north-1", "us-gov-west-1", "moon", "x"]),
        keys=all_keys,
        method=st.sampled_from(["GET", "PUT", "POST", "HEAD", "DELETE"]),
        scheme=st.just("https"),
        authority=st.sampled_from(
            ["example.amazonaws.com", "a.b:4599", "127.0.0.1:80", "[::1]:4599", "[2001:db8::1]"]
        ),
        path=s3_paths if service == "s3" else paths,
        query=queries,
        headers=headers,
        body=st.binary(max_size=60),
        signs_body=st.booleans(),
        now=moments,
    )


def assert_same(case: Case) -> None:
    request = case.by_botocore()
    sent = [pair for pair in request.headers.items() if pair[0] != "Authorization"]
    signer = Signer(case.service, case.region)
    assert case.by_us(sent, signer) == request.headers["Authorization"]


@thousands
@given(cases("sagemaker"))
def test_sagemaker_as_botocore(case: Case) -> None:
    assert_same(case)


@thousands
@given(cases("sqs"))
def test_sqs_as_botocore(case: Case) -> None:
    assert_same(case)


@thousands
@given(cases("sns"))
def test_sns_as_botocore(case: Case) -> None:
    assert_same(case)


@thousands
@given(cases("s3"))
def test_s3_as_botocore(case: Case) -> None:
    assert_same(case)


@pytest.mark.parametrize("service", ["s3-outposts", "s3-object-lambda"])
def test_kinds_of_s_3_sign_the_path_as_it_stands(service: str) -> None:
    keys = Keys("AKID", "secret")
    url = "https://example.com//a%20b/./..//"
    request = signed_by_botocore(service, "eu-west-1", keys, "GET", url, now=1e9)
    case = Case(
        service,
        "eu-west-1",
        keys,
        "GET",
        "https",
        "example.com",
        "//a%20b/./..//",
        query="",
        headers=[],
        body=b"",
        signs_body=True,
        now=1e9,
    )
    sent = [pair for pair in request.headers.items() if pair[0] != "Authorization"]
    signer = Signer(service, "eu-west-1")
    assert case.by_us(sent, signer) == request.headers["Authorization"]


def test_what_is_not_signed_is_what_botocore_does_not_sign() -> None:
    assert set(SIGNED_HEADERS_BLACKLIST) == UNSIGNED_HEADERS
    assert sigv4.UNSIGNED_PAYLOAD == UNSIGNED_PAYLOAD


@thousands
@given(values)
def test_a_canonical_value_is_its_own(value: str) -> None:
    once = canonical_value(value)
    assert canonical_value(once) == once
    assert not set(once) & set("\n\r\t")


# The AWS Signature Version 4 test suite, as botocore carries it (tests/unit/auth/aws4_testsuite).

UNRESERVED = "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
SUITE_KEYS = Keys("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
FORM = "application/x-www-form-urlencoded"
STS_TOKEN = (
    "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPf"
    "IeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7W"
    "Z0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8F"
    "DrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA=="
)
VANILLA = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
VANILLA_TOKEN = "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267"
POSTED = "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"


@dataclass
class Vector:
    name: str
    target: str
    signature: str
    headers: Sequence[tuple[str, str]] = ()
    body: bytes = b""

    def __str__(self) -> str:
        return self.name


VECTORS = [
    Vector("get-vanilla", "/", VANILLA),
    Vector("get-vanilla-query", "/", VANILLA),
    Vector(
        "get-vanilla-empty-query-key",
        "/?Param1=value1",
        "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb",
    ),
    Vector(
        "get-vanilla-query-order-encoded",
        "/?Param-3=Value3&Param=Value2&%E1%88%B4=Value1",
        "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac",
    ),
    Vector(
        "get-vanilla-query-order-key",
        "/?Param1=value2&Param1=Value1",
        "eedbc4e291e521cf13422ffca22be7d2eb8146eecf653089df300a15b2382bd1",
    ),
    Vector(
        "get-vanilla-query-order-key-case",
        "/?Param2=value2&Param1=value1",
        "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
    ),
    Vector(
        "get-vanilla-query-order-value",
        "/?Param1=value2&Param1=value1",
        "5772eed61e12b33fae39ee5e7012498b51d56abc0abb7c60486157bd471c4694",
    ),
    Vector(
        "get-vanilla-query-unreserved",
        f"/?{UNRESERVED}={UNRESERVED}",
        "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197",
    ),
    Vector(
        "get-vanilla-utf8-query",
        "/?\u1234=bar",
        "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04",
    ),
    Vector(
        "get-vanilla-with-session-token",
        "/",
        "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8",
        [("X-Amz-Security-Token", VANILLA_TOKEN)],
    ),
    Vector(
        "get-header-key-duplicate",
        "/",
        "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
        [("My-Header1", "value2"), ("My-Header1", "value2"), ("My-Header1", "value1")],
    ),
    Vector(
        "get-header-value-multiline",
        "/",
        "cfd34249e4b1c8d6b91ef74165d41a32e5fab3306300901bb65a51a73575eefd",
        [("My-Header1", "value1\n  value2\n     value3")],
    ),
    Vector(
        "get-header-value-order",
        "/",
        "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01",
        [("My-Header1", f"value{i}") for i in (4, 1, 3, 2)],
    ),
    Vector(
        "get-header-value-trim",
        "/",
        "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
        [("My-Header1", " value1"), ("My-Header2", ' "a   b   c"')],
    ),
    Vector(
        "get-unreserved",
        f"/{UNRESERVED}",
        "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
    ),
    Vector(
        "get-utf8", "/\u1234", "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"
    ),
    Vector(
        "get-space",
        "/example space/",
        "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741",
    ),
    Vector(
        "get-special-character",
        "/example/$delete",
        "a853c9b21b528b19643d00910d35b83a10c366a10833ceefb45edd6c80e40f27",
    ),
    Vector("get-slash", "//", VANILLA),
    Vector("get-slash-dot-slash", "/./", VANILLA),
    Vector(
        "get-slash-pointless-dot",
        "/./example",
        "ef75d96142cf21edca26f06005da7988e4f8dc83a165a80865db7089db637ec5",
    ),
    Vector(
        "get-slashes",
        "//example//",
        "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84",
    ),
    Vector("get-relative", "/example/..", VANILLA),
    Vector("get-relative-relative", "/example1/example2/../..", VANILLA),
    Vector("post-vanilla", "/", POSTED),
    Vector(
        "post-vanilla-query",
        "/?Param1=value1",
        "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11",
    ),
    Vector("post-header-key-case", "/", POSTED),
    Vector(
        "post-header-key-sort",
        "/",
        "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c",
        [("My-Header1", "value1")],
    ),
    Vector(
        "post-header-value-case",
        "/",
        "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d",
        [("My-Header1", "VALUE1")],
    ),
    # The token is added to the signed request, so it does not bear on the signature.
    Vector("post-sts-header-after", "/", POSTED),
    Vector(
        "post-sts-header-before",
        "/",
        "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead",
        [("X-Amz-Security-Token", STS_TOKEN)],
    ),
    Vector(
        "post-x-www-form-urlencoded",
        "/",
        "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
        [("Content-Type", FORM)],
        b"Param1=value1",
    ),
    Vector(
        "post-x-www-form-urlencoded-parameters",
        "/",
        "1a72ec8f64bd914b0e42e42607c7fbce7fb2c7465f63e3092b3b0d39fa77a6fe",
        [("Content-Type", f"{FORM}; charset=utf8")],
        b"Param1=value1",
    ),
]


@pytest.mark.parametrize("vector", VECTORS, ids=str)
def test_the_signature_test_suite_of_aws(vector: Vector) -> None:
    signer = Signer("service", "us-east-1")
    lines, signed = canonical_headers(
        [
            ("Host", "example.amazonaws.com"),
            *vector.headers,
            ("X-Amz-Date", "20150830T123600Z"),
        ]
    )
    path, _, query = vector.target.partition("?")
    authorization = signer.authorization(
        vector.name[: vector.name.index("-")].upper(),
        canonical_path(path, "service"),
        canonical_query(quote(query, safe="=&%")),
        lines=lines,
        names=signed,
        payload_hash=hashlib.sha256(vector.body).hexdigest(),
        keys=SUITE_KEYS,
        stamp=signer.stamp(timegm((2015, 8, 30, 12, 36, 0))),
    )
    own = {name.lower() for name, _ in vector.headers}
    assert authorization == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
        f"SignedHeaders={';'.join(sorted({'host', 'x-amz-date', *own}))}, "
        f"Signature={vector.signature}"
    )


# Amazon S3 API Reference, "Signature Calculations for the Authorization Header: Transferring
# Payload in a Single Chunk", its four examples.

S3_KEYS = Keys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")


@pytest.mark.parametrize(
    ("method", "target", "headers", "body", "signature"),
    [
        (
            "GET",
            "/test.txt",
            [("Range", "bytes=0-9")],
            b"",
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            "PUT",
            "/test%24file.text",
            [
                ("Date", "Fri, 24 May 2013 00:00:00 GMT"),
                ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
            ],
            b"Welcome to Amazon S3.",
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        ),
        (
            "GET",
            "/?lifecycle",
            [],
            b"",
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        ),
        (
            "GET",
            "/?max-keys=2&prefix=J",
            [],
            b"",
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ],
    ids=["get-object", "put-object", "get-lifecycle", "list-objects"],
)
def test_the_examples_of_the_s3_documentation(
    method: str, target: str, headers: list[tuple[str, str]], body: bytes, signature: str
) -> None:
    signer = Signer("s3", "us-east-1")
    path, _, query = target.partition("?")
    payload_hash = hashlib.sha256(body).hexdigest()
    lines, signed = canonical_headers(
        [
            ("Host", "examplebucket.s3.amazonaws.com"),
            *headers,
            ("x-amz-content-sha256", payload_hash),
            ("x-amz-date", "20130524T000000Z"),
        ]
    )
    authorization = signer.authorization(
        method,
        canonical_path(path, "s3"),
        canonical_query(query),
        lines=lines,
        names=signed,
        payload_hash=payload_hash,
        keys=S3_KEYS,
        stamp=signer.stamp(timegm((2013, 5, 24, 0, 0, 0))),
    )
    assert authorization == (
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
        f"SignedHeaders={signed}, Signature={signature}"
    )


# The key of the day

MIDNIGHT = timegm((2026, 1, 1, 0, 0, 0))
ONE, OTHER = Keys("AKIDONE", "one"), Keys("AKIDTWO", "two", "token")
moments_near = st.sampled_from([-1.5, -1.0, -0.001, 0.0, 0.001, 86_400.0, -86_400.0])


def sign(signer: Signer, keys: Keys, now: float) -> str:
    stamp = signer.stamp(now)
    return signer.authorization(
        "GET",
        "/",
        "",
        lines=f"host:h\nx-amz-date:{stamp}\n",
        names="host;x-amz-date",
        payload_hash=NOTHING,
        keys=keys,
        stamp=stamp,
    )


@settings(max_examples=150, derandomize=True, database=None, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([ONE, OTHER]), moments_near), min_size=2, max_size=8))
def test_a_kept_key_is_never_that_of_other_keys_or_of_another_day(
    turns: list[tuple[Keys, float]],
) -> None:
    kept = Signer("sagemaker", "us-east-1")
    for keys, seconds in turns:
        fresh = Signer("sagemaker", "us-east-1")
        now = MIDNIGHT + seconds
        assert sign(kept, keys, now) == sign(fresh, keys, now)


def test_the_day_ends_at_midnight_and_comes_back_when_the_clock_is_put_back() -> None:
    signer = Signer("sagemaker", "us-east-1")
    before, after = sign(signer, ONE, MIDNIGHT - 0.5), sign(signer, ONE, MIDNIGHT + 0.5)
    assert "/20251231/us-east-1/" in before
    assert "/20260101/us-east-1/" in after
    assert sign(signer, ONE, MIDNIGHT - 0.5) == before
    assert sign(signer, OTHER, MIDNIGHT + 0.5) != after
    assert sign(signer, ONE, MIDNIGHT + 0.5) == after


def test_the_key_of_the_day_is_made_once_a_day_and_pair_of_keys(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[str] = []
    make = Signer._derive_key

    def counting(self: Signer, keys: Keys, day: str) -> None:
        made.append(f"{keys.access_key_id} {day}")
        make(self, keys, day)

    monkeypatch.setattr(Signer, "_derive_key", counting)
    signer = Signer("sagemaker", "us-east-1")
    for seconds in (-2.0, -1.0, 0.0, 1.0, 2.0):
        sign(signer, ONE, MIDNIGHT + seconds)
    # Equal keys are the same keys, as when credentials that did not change were asked again.
    sign(signer, Keys("AKIDONE", "one"), MIDNIGHT)
    sign(signer, Keys("AKIDONE", "another"), MIDNIGHT)
    assert made == ["AKIDONE 20251231", "AKIDONE 20260101", "AKIDONE 20260101"]


@thousands
@given(moments)
def test_the_stamp_is_that_of_the_second(now: float) -> None:
    signer = Signer("s3", "us-east-1")
    for moment in (now, now + 0.999, now + 1, now):
        read = datetime.strptime(signer.stamp(moment), "%Y%m%dT%H%M%S%z")
        assert read.timestamp() == int(moment)
