"""Where values come from: a file, environment variables, and overrides; the later source wins.

Values are passed on as they were given, each with its origin for error messages; whether they are valid is checked in
`validation`. What a file says that is neither a section nor a key is a problem of its own, and all of them are
collected: one mistake hides no other.
"""

import io
import re
from collections.abc import Iterator, Mapping
from configparser import ConfigParser, DuplicateOptionError, DuplicateSectionError, MissingSectionHeaderError
from configparser import Error as IniError
from configparser import ParsingError as LineError
from pathlib import Path

import attrs

from collector.core.errors import SettingsError
from collector.core.redaction import PAGE_TOKEN
from collector.core.text import did_you_mean, size_text
from collector.settings.keys import SECTION_OF

DEFAULT_FILE = Path("settings.ini")
_LONGEST = 1_000_000  # bytes of a settings file: more is a mistake, such as /dev/zero
_SECRETS = ("api_key", "api_secret", "bybit_api_key", "bybit_api_secret")
_TOKENS = ("status_token", "collector_status_token")


@attrs.frozen
class Given:
    """A value as it was given, and the source that gave it."""

    value: object
    origin: str


def read_sources(
    path: Path | None, environment: Mapping[str, str], overrides: Mapping[str, object]
) -> tuple[dict[str, Given], list[str]]:
    """Merge all sources.

    Returns:
        The value of every key that was given, and the problems of the file's syntax, sections and keys, and of the
        keys of the overrides.
    """
    given, problems = _read_file(file_to_read(path))
    others = sorted(overrides.keys() - SECTION_OF.keys())
    unknown = [f"{key}: there is no such key{did_you_mean(key, SECTION_OF)}" for key in others]
    return given | _from_environment(environment) | _from_overrides(overrides), problems + unknown


def file_to_read(named: Path | None) -> Path | None:
    """The named file, or `settings.ini` of the working directory if it exists."""
    return DEFAULT_FILE if named is None and _exists(DEFAULT_FILE) else named


def is_variable(name: str) -> bool:
    """Whether an environment variable of this name is a setting."""
    return name in map(_variable, SECTION_OF)


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """Return a warning for each `COLLECTOR_` variable that is no setting.

    It is a warning because containers inject such names, such as COLLECTOR_PORT_80_TCP.
    """
    names = {name: name.removeprefix("COLLECTOR_").lower() for name in environment if name.startswith("COLLECTOR_")}
    return [
        f"{name} is not a setting{did_you_mean(key, SECTION_OF, _variable)}"
        for name, key in sorted(names.items())
        if name != PAGE_TOKEN and (key not in SECTION_OF or name != _variable(key))
    ]


# The environment and the command line.


def _from_environment(environment: Mapping[str, str]) -> dict[str, Given]:
    names = {key: _variable(key) for key in SECTION_OF}
    return _with_listed_symbols(
        {key: Given(environment[name].strip(), name) for key, name in names.items() if name in environment}
    )


def _from_overrides(overrides: Mapping[str, object]) -> dict[str, Given]:
    return _with_listed_symbols(
        {
            key: Given(value, "the command line")
            for key, value in overrides.items()
            if value is not None and key in SECTION_OF
        }
    )


def _with_listed_symbols(layer: dict[str, Given]) -> dict[str, Given]:
    """Switch `fetch_all_symbols` off where symbols are listed, unless the same source sets it."""
    if "symbols" in layer:
        return {"fetch_all_symbols": Given(False, layer["symbols"].origin)} | layer
    return layer


def _variable(key: str) -> str:
    return f"COLLECTOR_{key.upper()}"


# The file.


def _read_file(path: Path | None) -> tuple[dict[str, Given], list[str]]:
    """Read the known keys of a file, and describe everything else in it."""
    if path is None:
        return {}, []
    text = _text_of(path)
    ini, problems = _parse(text)
    origins = {place: f"{path}, line {number}" for place, number in _lines(text).items()}
    given = {
        key: Given(value, origins.get((section, key), str(path)))
        for section in ini.sections()
        for key, value in ini.items(section)
    }
    return {key: given[key] for key in given if key in SECTION_OF}, [
        *(f"{path}, {problem}" for problem in problems),
        *(f"{origins.get(place, path)}: {problem}" for place, problem in _unknown(ini)),
    ]


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # access denied; reading the file reports it
        return True


def _text_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_LONGEST + 1)
        if len(data) > _LONGEST:
            raise SettingsError([f"{path} is no settings file: it has more than {size_text(_LONGEST)}"])
        return io.StringIO(data.decode("utf-8-sig"), newline=None).read()
    except OSError as error:
        raise SettingsError([f"{path} cannot be read: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise SettingsError([f"{path} is not a text in UTF-8"]) from error


def _parse(text: str, *, strict: bool = True) -> tuple[ConfigParser, list[str]]:
    """Parse as much of the file as possible, and describe the invalid lines.

    The parser's default section gets the empty name, which a file cannot have: all sections are equal here.
    """
    ini = ConfigParser(interpolation=None, inline_comment_prefixes=(";", "#"), default_section="", strict=strict)
    try:
        ini.read_string(text)
    except (DuplicateSectionError, DuplicateOptionError) as error:  # a strict parser stops here
        ini, others = _parse(text, strict=False)
        return ini, [*_syntax_problems(error), *others]
    except MissingSectionHeaderError as error:  # every parser stops here
        return ConfigParser(), _syntax_problems(error)
    except IniError as error:
        return ini, _syntax_problems(error)
    return ini, []


def _lines(text: str) -> dict[tuple[str, str], int]:
    """The line of each section, with an empty key, and of each key: the last of several, whose value counts."""
    lines: dict[tuple[str, str], int] = {}
    section = ""
    for number, line in enumerate(text.split("\n"), 1):
        if begun := ConfigParser.SECTCRE.match(line):
            section = begun["header"]
            lines[section, ""] = number
        elif line[:1].strip():  # no continuation of a value
            lines[section, re.split("[=:]", line, maxsplit=1)[0].strip().lower()] = number
    return lines


def _syntax_problems(error: IniError) -> list[str]:
    """Describe syntax errors by line number; the line itself may hold a misplaced secret."""
    match error:
        case MissingSectionHeaderError():
            return [f"line {error.lineno}: a [section] must come first"]
        case DuplicateSectionError():
            return [f"line {error.lineno}: [{error.section}] is there twice"]
        case DuplicateOptionError():
            return [f"line {error.lineno}: [{error.section}] {error.option} is there twice"]
        case LineError():
            return [f"line {number}: this is neither a [section] nor key = value" for number, _ in error.errors]
    return [str(error)]


def _unknown(ini: ConfigParser) -> Iterator[tuple[tuple[str, str], str]]:
    """Describe unknown sections, unknown keys, and keys in the wrong section, each with its section and key."""
    sections = set(SECTION_OF.values())
    for section in ini.sections():
        if section not in sections:
            yield (section, ""), f"[{section}] is not a section{did_you_mean(section, sections, '[{}]'.format)}"
            continue
        for key in ini[section]:
            if SECTION_OF.get(key) != section:
                yield (section, key), f"[{section}] {key}: {_remedy(section, key)}"


def _remedy(section: str, key: str) -> str:
    if key in SECTION_OF:
        return f"this key belongs in [{SECTION_OF[key]}]"
    if key in _SECRETS:
        return "secrets are taken from the environment only, as BYBIT_API_KEY and BYBIT_API_SECRET"
    if key in _TOKENS:
        return f"a secret is taken from the environment only, as {PAGE_TOKEN}"
    keys = " ".join(each for each, belongs in SECTION_OF.items() if belongs == section)
    return f"there is no such key{did_you_mean(key, SECTION_OF) or f'; there are {keys}'}"
