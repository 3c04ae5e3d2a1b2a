"""The table of keys, and what is written about it: in the documented file."""

import configparser
import re
from pathlib import Path

import attrs

from collector.settings.keys import KEYS
from collector.settings.settings import Settings

REPOSITORY = Path(__file__).parents[2]


def test_settings_have_the_keys_of_the_table() -> None:
    assert [field.name for field in attrs.fields(Settings)] == list(KEYS)


def test_every_default_passes_its_own_converter() -> None:
    assert Settings(**{key: field.default for key, field in KEYS.items()}) == Settings()


def test_the_documented_file_names_the_choices_of_a_key() -> None:
    text = (REPOSITORY / "settings.ini").read_text()
    ini = configparser.ConfigParser()
    ini.read_string(text)
    for key, field in KEYS.items():
        if field.metadata["option"] and field.metadata["option"].choices:
            comment = text.partition(f"\n{key} =")[0].rpartition("\n\n")[2]
            assert all(re.search(rf"\b{choice}\b", comment) for choice in field.metadata["option"].choices), key
