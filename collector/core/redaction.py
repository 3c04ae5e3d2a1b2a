"""Text that leaves the process: printable, free of secrets.

Pure.

The exchange, file names, settings and the environment can hold anything: escape sequences that steer a terminal, line
breaks that forge lines, marks that turn the direction of writing, invisible letters. Whatever writes for a person uses
`printable`, and everything that leaves the process uses `masked` or `hidden`.
"""

import re
from collections.abc import Mapping
from typing import TypeVar, cast
from urllib.parse import unquote

T = TypeVar("T")

API_KEYS = ("BYBIT_API_KEY", "BYBIT_API_SECRET")
PAGE_TOKEN = "COLLECTOR_STATUS_TOKEN"
_TOKEN = 16  # letters: a part of an address so long is no word
WEBHOOK = "COLLECTOR_ALERT_WEBHOOK"
DATABASE, DATABASE_PASSWORD = "COLLECTOR_DATABASE_URL", "PGPASSWORD"
_SHORT = 3  # letters: a password so short would be masked in the middle of words

# Python calls these printable, and they take no room (Unicode's Default_Ignorable_Code_Point).
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_USER_INFO = re.compile(r"(?<=://)(?:[^\s/:]*:\S*@|[^\s/]*@)")  # a password may have a slash in it, or another @

_DATABASE_PASSWORD = re.compile(r"(?:(?<=://)[^\s/:@]*:|[?&](?:ssl)?password=)([^@&\s]+)")
_PASSWORD_PARAMETER = re.compile(r"(?<=[?&]password=)[^&\s]+")


def printable(text: str) -> str:
    """The text on one line, invisible characters as question marks."""
    return _UNSEEN.sub("?", "".join(each if each.isprintable() else "?" for each in text))


def secrets_in(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The secrets of an environment in the forms they may turn up, longest first.

    They are the API keys, the token of the page, the credentials shown to a proxy, the address that alerts are posted
    to, and that of the database.
    """
    found = {environment.get(name, "").strip() for name in (*API_KEYS, PAGE_TOKEN)}
    for name, value in environment.items():
        if name.lower().endswith("_proxy") and "@" in value:
            user_info = value.rpartition("@")[0].rpartition("://")[2]
            password = user_info.partition(":")[2]
            found |= {each for each in (user_info, password) if len(each) > _SHORT}
    found |= set(secrets_of_url(environment.get(WEBHOOK, "").strip()))
    found |= _secrets_of_database(environment)
    return tuple(sorted(filter(None, found), key=len, reverse=True))


def _secrets_of_database(environment: Mapping[str, str]) -> set[str]:
    """Passwords, as they are written and as they are meant, and the address whole if it holds one."""
    url = environment.get(DATABASE, "").strip()
    written = [match[1] for match in _DATABASE_PASSWORD.finditer(url)]
    passwords = {*written, *map(unquote, written), environment.get(DATABASE_PASSWORD, "").strip()}
    return {each for each in passwords if len(each) > _SHORT} | ({url} if written else set())


def secrets_of_url(url: str) -> tuple[str, ...]:
    """The forms of a secret address that may appear nowhere, longest first.

    Its short parts are left alone: the topic of ntfy.sh/collector is a word that stands everywhere.
    """
    scheme, _, bare = url.partition("://")
    if not bare:
        return ()
    user_info, _, place = bare.rpartition("@")
    behind = place.partition("/")[2]
    credentials = {each for each in (user_info, user_info.partition(":")[2]) if len(each) > _SHORT}
    tokens = {each for each in (behind, *re.split(r"[/?&=]", behind)) if len(each) >= _TOKEN}
    whole = {url, f"{scheme}://{place}", place} if behind else set()
    return tuple(sorted({*whole, *credentials, *tokens}, key=len, reverse=True))


def masked(text: str, secrets: tuple[str, ...] = ()) -> str:
    """The text with secrets and addresses' credentials starred out."""
    for secret in secrets:
        text = text.replace(secret, "***")
    return _PASSWORD_PARAMETER.sub("***", _USER_INFO.sub("***@", text))


def hidden(value: T, secrets: tuple[str, ...] = ()) -> T:
    """A JSON value with every text in it masked."""
    if isinstance(value, str):
        return cast(T, masked(value, secrets))
    if isinstance(value, Mapping):
        return cast(T, {hidden(key, secrets): hidden(each, secrets) for key, each in value.items()})
    if isinstance(value, list | tuple):
        return cast(T, [hidden(each, secrets) for each in value])
    return value
