"""What scripts import: every public name is there, and a script that only reads does not wait for what collects."""

import subprocess
import sys

import pytest

import collector


@pytest.mark.parametrize("name", collector.__all__)
def test_every_public_name_is_where_it_is_said_to_be(name: str) -> None:
    assert getattr(collector, name).__name__ == name
    assert name in dir(collector)


def test_a_name_that_is_none_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="DataFeder"):
        _ = collector.DataFeder


def test_reading_candles_loads_nothing_that_talks_to_an_exchange() -> None:
    script = "import sys; from collector import DataFeeder; print({'trio', 'httpx'} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)
    assert said.stdout == "set()\n"
