"""The state folder: its marker, and its lock."""

from pathlib import Path

import pytest

from dispatcher.config.settings import EmulatorSettings
from dispatcher.emulator.server import Emulator
from dispatcher.emulator.state.folder import MARKER
from dispatcher.errors import ConfigError, StateError


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    "name", ["report.csv", "data/07/123", "incoming/mine", "objects.log", "data", MARKER]
)
async def test_folder_with_files_of_another_program_is_left_alone(
    tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"precious")
    with pytest.raises(StateError, match=r"left alone.*emulator\.state"):
        await Emulator(EmulatorSettings(state=str(tmp_path))).__aenter__()
    assert files(tmp_path) == {name: b"precious"}


async def test_folder_whose_making_was_interrupted_is_used(tmp_path: Path) -> None:
    (tmp_path / MARKER).write_bytes(b"")
    for _ in range(2):
        async with Emulator(EmulatorSettings(state=str(tmp_path))):
            pass


async def test_folder_is_held_by_one_emulator(tmp_path: Path) -> None:
    settings = EmulatorSettings(state=str(tmp_path))
    async with Emulator(settings):
        before = files(tmp_path)
        with pytest.raises(ConfigError, match=rf"{tmp_path} is in use.*emulator\.state"):
            await Emulator(settings).__aenter__()
        assert files(tmp_path) == before
    async with Emulator(settings):
        pass
