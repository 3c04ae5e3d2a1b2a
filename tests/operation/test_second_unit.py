"""The guide's second market: its settings, its unit, and that the two keep out of each other's way."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from collector.commands.installation import unit_of_this
from collector.settings.settings import Settings

GUIDE = (Path(__file__).parents[2] / "docs" / "guides" / "upkeep.md").read_text()
SPOT = re.findall(r"```ini\n(.*?)```", GUIDE, re.DOTALL)[0]


@pytest.fixture
def both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Settings, Settings]:
    """The settings of the first market, and those that the guide has for the second one."""
    monkeypatch.chdir(tmp_path)
    Path("spot.ini").write_text(SPOT)
    for name in ("data", "logs", "spot-data", "spot-logs"):
        Path(name).mkdir()
    return Settings(), Settings.load(Path("spot.ini"))


def test_the_two_share_no_directory_and_no_port(both: tuple[Settings, Settings]) -> None:
    first, second = both
    assert (first.category, second.category) == ("linear", "spot")
    assert {first.data_dir, first.logs_dir}.isdisjoint({second.data_dir, second.logs_dir})
    assert first.listen != second.listen


def test_their_units_write_into_different_places(both: tuple[Settings, Settings]) -> None:
    first, _ = unit_of_this(both[0], [], {}, "collector")
    second, _ = unit_of_this(both[1], ["--settings", "spot.ini"], {}, "collector")
    written = [set(re.findall("^ReadWritePaths=(.*)$", unit, re.MULTILINE)[0].split()) for unit in (first, second)]
    assert written[0].isdisjoint(written[1])
    assert "--settings spot.ini" in second
    assert "Description=Candle collector: spot at bybit" in second


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")
def test_systemd_accepts_both_units(both: tuple[Settings, Settings]) -> None:
    names = re.findall(r"/etc/systemd/system/(collector[\w-]*\.service)", GUIDE)
    assert names == ["collector-spot.service"]
    for name, settings in zip(["collector.service", *names], both, strict=True):
        Path(name).write_text(unit_of_this(settings, [], {}, "collector")[0])
        ended = subprocess.run(["systemd-analyze", "verify", f"./{name}"], capture_output=True, text=True, check=False)
        assert (ended.returncode, ended.stderr) == (0, "")
