"""The example of the guide for research runs as it stands, on files like those of the demo."""

import re
from pathlib import Path

import pytest

from collector.core.candle import TIMEFRAMES
from tests.support.candles import content, rows

GUIDE = Path(__file__).parents[2] / "docs/guides/researcher.md"


def test_the_guides_research_script_runs_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (script,) = [text for text in re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL) if "Feeder" in text]
    (tmp_path / "demo-data").mkdir()
    for symbol in ("BTCUSDT", "ETHUSDT"):
        for name, count in (("5", 1200), ("60", 100), ("D", 5)):
            text = content(rows(0, count, frame=TIMEFRAMES[name]))
            (tmp_path / "demo-data" / f"{symbol}_{name}.csv").write_bytes(text)
    monkeypatch.chdir(tmp_path)
    exec(compile(script, str(GUIDE), "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "BTCUSDT ['5', '60', 'D']"
    # At the open of the last five minutes, candle 1199, the hour 99 and the day 4 are open too.
    assert lines[2:5] == ["5 38198.0 volume 1.5", "60 37098.0 volume 1.5", "D 37003.0 volume 1.5"]
    assert lines[5].endswith("% with 1200 decisions")
