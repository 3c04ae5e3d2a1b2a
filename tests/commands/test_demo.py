"""The command `demo`."""

import subprocess
from pathlib import Path

import pytest

from tests.campaign.process import command


@pytest.mark.slow
def test_the_demo_finds_every_file_equal(tmp_path: Path) -> None:
    ended = subprocess.run(
        command("demo", "--data-dir", str(tmp_path)), capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0
    assert ended.stderr.count("equal to the exchange, byte for byte") == 12
    assert "✗" not in ended.stderr
    for promise in ("errors healed", "a rate ban waited out", "the connection was cut and is back", "every one kept"):
        assert promise in ended.stderr
    assert "7 candles on record as missing: this exchange hides them on purpose" in ended.stderr
