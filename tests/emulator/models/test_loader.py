"""Loading of a user's model, and the messages where it cannot be loaded."""

import sys
from pathlib import Path

import pytest

from dispatcher.config.settings import EmulatorSettings
from dispatcher.emulator.models.loader import load_model
from dispatcher.emulator.models.model import ModelRequest
from dispatcher.emulator.server import Emulator
from dispatcher.errors import ConfigError

REQUEST = ModelRequest(
    body=b"",
    content_type=None,
    accept=None,
    custom_attributes=None,
    inference_id="i",
    endpoint="emulated",
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return tmp_path


def test_model_is_found_in_the_working_directory(folder: Path) -> None:
    (folder / "my_model_a.py").write_text("def predict(request):\n    return b'mine'\n")
    assert load_model("my_model_a:predict")(REQUEST) == b"mine"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ecko", "echo, text-stats, or package.module:function"),
        ("no_such_module_x:predict", "cannot import module 'no_such_module_x'"),
        ("my_model_b:absent", "has no function 'absent'"),
        ("my_model_b:number", "has no function 'number'"),
        ("my_model_b:no_argument", "must take one argument"),
        ("my_model_c:predict", "ZeroDivisionError"),
        (":predict", "package.module:function"),
    ],
)
async def test_model_that_cannot_be_loaded_shows_the_remedy(
    folder: Path, name: str, words: str
) -> None:
    (folder / "my_model_b.py").write_text("number = 1\ndef no_argument():\n    return b''\n")
    (folder / "my_model_c.py").write_text("1 / 0\n")
    with pytest.raises(ConfigError, match=r"emulator\.model") as caught:
        await Emulator(EmulatorSettings(model=name)).__aenter__()
    assert words in str(caught.value)
