"""Signature Version 4 against what AWS has published."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.emulator.auth.signature import (
    Scope,
    canonical_path,
    canonical_query,
    canonical_request,
    canonical_value,
    signature,
    signing_key,
    string_to_sign,
)

NOTHING = hashlib.sha256(b"").hexdigest()

S3_SCOPE = Scope("20130524", "us-east-1", "s3")
S3_SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
S3_HEADERS = {
    "host": "examplebucket.s3.amazonaws.com",
    "x-amz-content-sha256": NOTHING,
    "x-amz-date": "20130524T000000Z",
}
PRESIGNED = (
    "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256"
    "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
    "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
    "&X-Amz-Signature=00"
)
WELCOME = hashlib.sha256(b"Welcome to Amazon S3.").hexdigest()

SUITE_SCOPE = Scope("20150830", "us-east-1", "service")
SUITE_SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
SUITE_HEADERS = {"host": "example.amazonaws.com", "x-amz-date": "20150830T123600Z"}
UNRESERVED = "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
U1234 = "\u1234".encode().decode("latin-1")


def test_canonical_request_of_the_s3_documentation() -> None:
    canonical = canonical_request(
        "GET",
        "/test.txt",
        S3_HEADERS | {"range": "bytes=0-9"},
        ["host", "range", "x-amz-content-sha256", "x-amz-date"],
        NOTHING,
        s3=True,
    )
    assert canonical.split("\n") == [
        "GET",
        "/test.txt",
        "",
        "host:examplebucket.s3.amazonaws.com",
        "range:bytes=0-9",
        f"x-amz-content-sha256:{NOTHING}",
        "x-amz-date:20130524T000000Z",
        "",
        "host;range;x-amz-content-sha256;x-amz-date",
        NOTHING,
    ]
    assert string_to_sign(canonical, "20130524T000000Z", S3_SCOPE).split("\n") == [
        "AWS4-HMAC-SHA256",
        "20130524T000000Z",
        "20130524/us-east-1/s3/aws4_request",
        "7344ae5b7ee6c3e7e6b0fe0640412a37625d1fbfff95c48bbb2dc43964946972",
    ]


@pytest.mark.parametrize(
    ("method", "target", "headers", "payload", "expected"),
    [
        (
            "GET",
            "/test.txt",
            S3_HEADERS | {"range": "bytes=0-9"},
            NOTHING,
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            "PUT",
            "/test$file.text",
            S3_HEADERS
            | {
                "date": "Fri, 24 May 2013 00:00:00 GMT",
                "x-amz-content-sha256": WELCOME,
                "x-amz-storage-class": "REDUCED_REDUNDANCY",
            },
            WELCOME,
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        ),
        (
            "GET",
            "/?lifecycle",
            S3_HEADERS,
            NOTHING,
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        ),
        (
            "GET",
            "/?max-keys=2&prefix=J",
            S3_HEADERS,
            NOTHING,
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
        (
            "GET",
            PRESIGNED,
            {"host": "examplebucket.s3.amazonaws.com"},
            "UNSIGNED-PAYLOAD",
            "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404",
        ),
    ],
    ids=["get-object", "put-object", "get-lifecycle", "list-objects", "presigned"],
)
def test_examples_of_the_s3_documentation(
    method: str, target: str, headers: dict[str, str], payload: str, expected: str
) -> None:
    canonical = canonical_request(method, target, headers, list(headers), payload, s3=True)
    text = string_to_sign(canonical, "20130524T000000Z", S3_SCOPE)
    assert signature(signing_key(S3_SECRET, S3_SCOPE), text) == expected


@pytest.mark.parametrize(
    ("target", "headers", "expected"),
    [
        ("/", {}, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        (
            "/?Param2=value2&Param1=value1",
            {},
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
        (
            f"/?{UNRESERVED}={UNRESERVED}",
            {},
            "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197",
        ),
        (
            f"/?{U1234}=bar",
            {},
            "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04",
        ),
        (f"/{U1234}", {}, "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"),
        (
            "/example space/",
            {},
            "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741",
        ),
        (
            "/example1/example2/../..",
            {},
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        ),
        ("//", {}, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("//example//", {}, "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84"),
        ("/./example", {}, "ef75d96142cf21edca26f06005da7988e4f8dc83a165a80865db7089db637ec5"),
        (
            "/",
            {"my-header1": "value2,value2,value1"},
            "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
        ),
        (
            "/",
            {"my-header1": " value1", "my-header2": ' "a   b   c"'},
            "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
        ),
    ],
    ids=[
        "get-vanilla",
        "get-vanilla-query-order-key-case",
        "get-vanilla-query-unreserved",
        "get-vanilla-utf8-query",
        "get-utf8",
        "get-space",
        "get-relative-relative",
        "get-slash",
        "get-slashes",
        "get-slash-pointless-dot",
        "get-header-key-duplicate",
        "get-header-value-trim",
    ],
)
def test_the_signature_test_suite_of_aws(
    target: str, headers: dict[str, str], expected: str
) -> None:
    headers = SUITE_HEADERS | headers
    canonical = canonical_request("GET", target, headers, list(headers), NOTHING, s3=False)
    text = string_to_sign(canonical, "20150830T123600Z", SUITE_SCOPE)
    assert signature(signing_key(SUITE_SECRET, SUITE_SCOPE), text) == expected


@pytest.mark.parametrize(
    ("sent", "s3", "others"),
    [
        ("/a//b/./../c/", "/a//b/./../c/", "/a/c/"),
        ("/a/b/..", "/a/b/..", "/a/"),
        ("/..", "/..", "/"),
        ("/a%20b", "/a%20b", "/a%2520b"),
        ("/%e4%2f", "/%E4/", "/%25e4%252f"),
        ("/(~*')+", "/%28~%2A%27%29%2B", "/%28~%2A%27%29%2B"),
    ],
)
def test_path_is_canonical_in_two_ways(sent: str, s3: str, others: str) -> None:
    assert canonical_path(sent, s3=True) == s3
    assert canonical_path(sent, s3=False) == others


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("", ""),
        ("&&b&a=", "a=&b="),
        ("a=b+c%20d%2Be", "a=b%20c%20d%2Be"),
        ("b=2&b=1&a.=1&a=1&B=1", "B=1&a=1&a.=1&b=1&b=2"),
        ("a=b=c", "a=b%3Dc"),
        ("X-Amz-Signature=1&%58-Amz-Signature=2&x-amz-signature=3", "x-amz-signature=3"),
    ],
)
def test_query_is_encoded_again_and_sorted(sent: str, expected: str) -> None:
    assert canonical_query(sent) == expected


def test_blanks_in_a_header_are_one_blank() -> None:
    assert canonical_value(' \t a \t b  "c  d" ') == 'a b "c d"'


@settings(deadline=None)
@given(st.text(st.characters(max_codepoint=255)), st.booleans())
def test_canonical_path_is_plain_and_fits_itself(path: str, s3: bool) -> None:
    canonical = canonical_path("/" + path, s3=s3)
    assert set(canonical) <= set(UNRESERVED + "%/")
    if s3:
        assert canonical_path(canonical, s3=True) == canonical
