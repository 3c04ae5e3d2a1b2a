"""The systemd unit of an installation as text: start, watchdog, stop and sandboxing.

Pure.

It works with systemd 247 (Debian 11) and later. A comment in the unit explains each line, because operators read and
change it.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

import attrs

_HOMES = ("/home/", "/root/", "/run/user/")
_TEMPORARY = ("/tmp/", "/var/tmp/")


@attrs.frozen
class Installation:
    """The parameters of a unit, with absolute paths.

    `writes` are the directories it writes; `uses` are read: interpreter, code and settings.
    """

    command: Sequence[str]
    user: str
    working_dir: str
    writes: Sequence[str]
    what: str
    uses: Sequence[str] = ()
    environment: Mapping[str, str] = attrs.field(factory=dict)


def unit_text(installation: Installation) -> str:
    """Return the unit, ready for /etc/systemd/system.

    Raises:
        ValueError: a path or value is invalid in a unit.
    """
    given = sorted(installation.environment.items())
    paths = [installation.working_dir, *installation.writes, *installation.uses]
    return _UNIT.format(
        what=_plain(installation.what),
        user=_name(installation.user),
        working_dir=_plain(installation.working_dir),
        command=_command(installation.command),
        environment="".join(f"Environment={_quoted(f'{name}={value}')}\n" for name, value in given),
        writes=" ".join(map(_quoted, sorted({*installation.writes}))),
        homes="read-only" if _any_below(paths, _HOMES) else "yes",
        private_tmp="no" if _any_below(paths, _TEMPORARY) else "yes",
    )


def _any_below(paths: Iterable[str], places: tuple[str, ...]) -> bool:
    return any(f"{path}/".startswith(places) for path in paths)


def _plain(text: str) -> str:
    """Escape the % specifiers of a value that extends to the end of the line."""
    _expect_printable(text)
    if text != text.strip() or text.endswith("\\"):
        raise ValueError(f"{text!r} cannot stand in a unit: it begins or ends with a blank, or ends with a backslash")
    return text.replace("%", "%%")


def _command(words: Sequence[str]) -> str:
    """Quote a command line; the colon disables the expansion of $NAME."""
    if set(words[0]) & set("'\"\\"):  # systemd rejects a program of such a name
        words = ["/usr/bin/env", *words]
    return " ".join(map(_quoted, [":" + words[0], *words[1:]]))


def _name(user: str) -> str:
    if not re.fullmatch("[A-Za-z0-9_][A-Za-z0-9_.-]*", user):
        raise ValueError(f"{user!r} is not the name of a user")
    return user


def _quoted(text: str) -> str:
    """Quote one word of a list."""
    _expect_printable(text)
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"' if set(escaped) & set(" '\"\\;#$") or not escaped else escaped


def _expect_printable(text: str) -> None:
    if not text.isprintable():
        raise ValueError(f"{text!r} cannot stand in a unit")


_UNIT = """\
# Made by `collector systemd-unit`; make it again after the installation was moved.

[Unit]
Description=Candle collector: {what}
Wants=network-online.target
After=network-online.target
# It never gives up: a full disk or a crash at night is tried again until somebody looks.
StartLimitIntervalSec=0

[Service]
User={user}
WorkingDirectory={working_dir}
{environment}\
# Polars asks the processor what it can do with code that it writes itself, which MemoryDenyWriteExecute forbids.
Environment=POLARS_SKIP_CPU_CHECK=1
# -I: modules come from the installation alone, whatever lies in the working directory, in PYTHONPATH or in a home.
ExecStart={command}
# Read the settings again; the log says what changed and what needs a restart.
ExecReload=/bin/kill -HUP $MAINPID

# It reports ready once candles flow. While the exchange is down it asks for more time, so this start never fails for
# that; only a process that hangs at its start runs out of it.
Type=notify
NotifyAccess=main
TimeoutStartSec=180
# Fed while the files get on. A writer that is stuck, or a process that hangs, is ended after 3 to 6 minutes.
WatchdogSec=180
TimeoutAbortSec=30

# A stop writes what was received, for 30 seconds at most.
KillMode=mixed
TimeoutStopSec=60

# Trying again helps against a crash, and when another collector is at work (4). Not against wrong settings (2), nor an
# exchange that refuses us (3).
Restart=on-failure
RestartSec=30
RestartPreventExitStatus=2 3

# Its own lines say how bad they are. What says nothing is a traceback, or the interpreter, which could not start.
SyslogLevel=err

# It reads its code and settings, writes into these directories, and talks to the network and to systemd. Nothing else.
# Files of the data directory that are links have the directories they lead to in the list: make the unit again after
# a link was added.
ReadWritePaths={writes}
ProtectSystem=strict
ProtectHome={homes}
PrivateTmp={private_tmp}
PrivateDevices=yes
DevicePolicy=closed
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
ProtectProc=invisible
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
PrivateMounts=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
# The files are for everybody who does research on this machine to read.
UMask=0022
LimitCORE=0
LimitNOFILE=65536

[Install]
WantedBy=multi-user.target
"""
