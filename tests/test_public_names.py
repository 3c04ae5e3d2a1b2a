"""What scripts import: every public name is there, and a script that only reads does not wait for what collects."""

import pydoc
import re
import subprocess
import sys

import pytest

import collector
from collector.core import errors


@pytest.mark.parametrize("name", collector.__all__)
def test_every_public_name_is_where_it_is_said_to_be(name: str) -> None:
    assert getattr(collector, name).__name__ == name
    assert name in dir(collector)


def docstrings(thing: object) -> str:
    """What help() says of a public thing, all its methods included."""
    return pydoc.plain(pydoc.render_doc(thing))


@pytest.mark.parametrize("name", collector.__all__)
def test_every_error_that_a_public_docstring_names_is_public(name: str) -> None:
    ours = {each for each, error in vars(errors).items() if isinstance(error, type) and issubclass(error, Exception)}
    named = set(re.findall(r"\w+", docstrings(getattr(collector, name)))) & ours
    assert named <= set(collector.__all__)


def test_a_name_that_is_none_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="DataFeder"):
        _ = collector.DataFeder


def test_reading_candles_loads_nothing_that_talks_to_an_exchange() -> None:
    script = "import sys; from collector import DataFeeder; print({'trio', 'httpx'} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)
    assert said.stdout == "set()\n"
