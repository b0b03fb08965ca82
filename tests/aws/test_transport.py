"""Transport: the choice between our own client and aioboto3's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dispatcher.aws.transport import open_transport
from dispatcher.config.settings import AwsSettings

if TYPE_CHECKING:
    from tests.aws.conftest import WireServer


@pytest.mark.parametrize(("without", "name"), [(None, "aioboto3"), ("127.0.0.1", "direct")])
async def test_a_proxy_selects_aioboto3_and_says_so(
    wire: WireServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    without: str | None,
    name: str,
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    if without is not None:
        monkeypatch.setenv("no_proxy", without)
    async with open_transport(AwsSettings(), connections=1) as transport:
        assert transport.name == name
    assert ("aioboto3 is used" in caplog.text) is (name == "aioboto3")
