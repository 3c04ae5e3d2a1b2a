"""The recipes: every block of Python in docs/recipes runs, where its library is installed."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import trio

from collector.sandbox import open_sandbox
from tests.support.market import fetch, market, settings_for

RECIPES = Path(__file__).parents[2] / "docs" / "recipes"
NEEDED = {  # the modules that a page imports
    "pandas": ("pandas", "pyarrow"),
    "duckdb": ("duckdb",),
    "matplotlib": ("matplotlib",),
    "backtesting": ("backtesting", "pandas", "pyarrow"),
    "backtrader": ("backtrader", "pandas", "pyarrow"),
    "vectorbt": ("vectorbt", "pyarrow"),
    "freqtrade": ("freqtrade", "pyarrow"),
    "nautilus_trader": ("nautilus_trader", "pyarrow"),
}
HEAVY = ("vectorbt", "freqtrade", "nautilus_trader")  # hundreds of megabytes each
_PATIENCE_S = 120


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with `data/`: two months of hours and days of two symbols."""
    directory = tmp_path_factory.mktemp("recipes")

    async def collect() -> None:
        async with open_sandbox(market()) as box:
            changes = {"symbols": ["BTCUSDT", "ETHUSDT"], "timeframes": ["60", "D"], "days_to_fetch": 60}
            await fetch(settings_for(box.url, directory, data_dir=directory / "data", **changes))

    trio.run(collect)
    return directory


def blocks(page: str) -> str:
    text = (RECIPES / f"{page}.md").read_text()
    return "\n".join(re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE))


def test_every_page_is_tried_and_listed() -> None:
    pages = {path.stem for path in RECIPES.glob("*.md")} - {"index"}
    assert pages == set(NEEDED)
    listed = (RECIPES / "index.md").read_text()
    assert [page for page in pages if f"]({page}.md)" not in listed] == []


PAGES = [pytest.param(page, marks=pytest.mark.slow if page in HEAVY else ()) for page in NEEDED]


@pytest.mark.parametrize("page", PAGES)
def test_a_recipe_runs_as_it_stands(stored: Path, page: str) -> None:
    missing = [module for module in NEEDED[page] if find_spec(module) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    here = dict(os.environ) | {"MPLCONFIGDIR": str(stored)}
    done = subprocess.run(
        [sys.executable, "-c", blocks(page)], cwd=stored, env=here, capture_output=True, text=True, timeout=_PATIENCE_S
    )
    assert done.returncode == 0, done.stderr
