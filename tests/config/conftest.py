"""Reading a configuration from text."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import pytest

from dispatcher.config.load import load_config
from dispatcher.config.settings import Config
from dispatcher.errors import ConfigError


class Load(Protocol):
    """Write text to ``w.yaml`` and load it."""

    def __call__(
        self, text: str | bytes, overrides: Sequence[str] = (), environ: Mapping[str, str] = ...
    ) -> Config: ...


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    monkeypatch.chdir(tmp_path)

    def _load(
        text: str | bytes,
        overrides: Sequence[str] = (),
        environ: Mapping[str, str] | None = None,
    ) -> Config:
        content = text.encode() if isinstance(text, str) else text
        Path("w.yaml").write_bytes(content)
        return load_config(Path("w.yaml"), overrides, environ or {})

    return _load


@pytest.fixture
def mistake(load: Load) -> Callable[..., str]:
    """Load a configuration that must be refused, and return its message."""

    def _mistake(
        text: str | bytes,
        overrides: Sequence[str] = (),
        environ: Mapping[str, str] | None = None,
    ) -> str:
        with pytest.raises(ConfigError) as caught:
            load(text, overrides, environ or {})
        return str(caught.value)

    return _mistake
