"""The JSON of an alert, and where it is posted to. Pure.

One object serves the usual receivers, each of which takes its own fields and ignores the others:

    Slack      `text`, in which & < > are escaped (https://docs.slack.dev/messaging/formatting-message-text)
    Discord    `content`, at most 2000 characters, and `allowed_mentions`, so that no text calls anybody
               (https://discord.com/developers/docs/resources/webhook#execute-webhook)
    ntfy       `topic`, `title` and `message`, 8 kB of JSON at most, posted to the server's root
               (https://docs.ntfy.sh/publish/#publish-as-json)
"""

import json
import re
from base64 import b64encode
from urllib.parse import parse_qs, unquote, urlsplit, urlunsplit

import attrs

from collector.core.redaction import masked, printable
from collector.core.text import counted, moment_text
from collector.monitoring.alert_outbox import Batch

_MOST_BYTES = (1800, 900, 400)  # of the text: under Discord's limit; the shorter ones where much has to be escaped
_MOST_JSON = 8000  # bytes: under ntfy's limit
_TOPIC = re.compile("[-_A-Za-z0-9]{1,64}")
_NTFY = re.compile(r"ntfy(\.|$)")
_NO_TOPIC = "collector"


@attrs.frozen
class Destination:
    """Where alerts are posted to.

    Its text shows the host alone.
    """

    host: str
    url: str = attrs.field(repr=False)
    topic: str = attrs.field(default=_NO_TOPIC, repr=False)
    headers: tuple[tuple[str, str], ...] = attrs.field(default=(), repr=False)


def destination(webhook: str) -> Destination:
    """The destination of a webhook's address.

    The address of an ntfy topic, such as https://ntfy.sh/mine, takes plain text: its JSON goes to the server's root,
    with the topic inside. Of a server whose name does not begin with ntfy, write the root and `?topic=mine`.
    """
    parts = urlsplit(webhook)
    user_info, at, place = parts.netloc.rpartition("@")
    path, only = parts.path, parts.path.strip("/")
    named = parse_qs(parts.query).get("topic", [""])[0] or only
    topic = named if _TOPIC.fullmatch(named) else _NO_TOPIC
    if _NTFY.match(parts.hostname or "") and only == topic:
        path = "/"
    url = urlunsplit((parts.scheme, place, path or "/", parts.query, ""))
    return Destination(parts.hostname or "", url, topic, _authorization(user_info) if at else ())


def _authorization(user_info: str) -> tuple[tuple[str, str], ...]:
    user, _, password = user_info.partition(":")
    return (("Authorization", f"Basic {b64encode(f'{unquote(user)}:{unquote(password)}'.encode()).decode()}"),)


def alert_json(batch: Batch, who: str, topic: str = _NO_TOPIC, secrets: tuple[str, ...] = ()) -> bytes:
    """The message about some alerts.

    Args:
        who: the collector that speaks.
        secrets: masked, as are passwords in URLs.
    """
    title = f"collector {_title(batch)}"
    message = "\n".join([f"{printable(masked(who, secrets))}:", *_lines(batch, secrets)])
    versions = (_encoded(title, _cut(message, most), topic) for most in _MOST_BYTES)
    return next((version for version in versions if len(version) <= _MOST_JSON), _encoded(title, title, topic))


def _encoded(title: str, message: str, topic: str) -> bytes:
    whole = f"{title}\n{message}"
    fields = {
        "text": whole.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"),
        "content": whole,
        "allowed_mentions": {"parse": []},
        "topic": topic,
        "title": title,
        "message": message,
    }
    return json.dumps(fields, ensure_ascii=False).encode(errors="replace")


def _title(batch: Batch) -> str:
    """The newest alert's title, and how many others there are."""
    others = len(batch.alerts) - 1 + batch.dropped
    newest = batch.alerts[-1].title
    return f"{newest} (and {counted(others, 'earlier alert')})" if others else newest


def _lines(batch: Batch, secrets: tuple[str, ...]) -> list[str]:
    """A line per alert, the newest first, since the end may be cut off."""
    lines = [
        printable(masked(f"{moment_text(alert.at_ms)} UTC {alert.title}: {alert.text}", secrets))
        for alert in reversed(batch.alerts)
    ]
    return [*lines, *([f"{counted(batch.dropped, 'earlier alert')} left out"] if batch.dropped else [])]


def _cut(text: str, most: int) -> str:
    """The text in so many bytes of UTF-8 at most."""
    encoded = text.encode(errors="replace")
    return text if len(encoded) <= most else f"{encoded[: most - 3].decode(errors='ignore')}…"
