"""The client of sd_notify(3): datagrams to the socket systemd names in the environment.

A datagram holds lines of `KEY=value`. Sending returns at once and ignores failures: collection goes on while the
service manager is deaf. Outside systemd everything here does nothing.
"""

import os
from collections.abc import Mapping

import attrs

from collector.machine import THIS_MACHINE, Machine


@attrs.frozen
class NotifySocket:
    """The service manager's socket.

    `address` is empty outside systemd; `watchdog_s` is 0 unless the unit has a watchdog for this process.
    """

    address: str = ""
    watchdog_s: float = 0.0
    machine: Machine = THIS_MACHINE

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "NotifySocket":
        """Reads the variables that systemd sets."""
        address = environment.get("NOTIFY_SOCKET", "")
        if not address.startswith(("/", "@")):
            return cls()
        meant = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        microseconds = environment.get("WATCHDOG_USEC", "")
        return cls(address, int(microseconds) / 1e6 if meant and microseconds.isdecimal() else 0.0)

    def ready(self) -> bool:
        return self._send("READY=1")

    def status(self, text: str) -> bool:
        """Sets the status line of `systemctl status`."""
        return self._send("STATUS=" + " ".join(text.split()))

    def alive(self) -> bool:
        return self._send("WATCHDOG=1")

    def starting(self, seconds: float) -> bool:
        """Extends the start timeout to so many seconds from now."""
        return self._send(f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}")

    def reloading(self) -> bool:
        return self._send("RELOADING=1", f"MONOTONIC_USEC={self.machine.clock.elapsed_ns() // 1000}")

    def stopping(self) -> bool:
        return self._send("STOPPING=1")

    def _send(self, *lines: str) -> bool:
        """Sends one datagram; true if it was accepted."""
        if not self.address:
            return False
        try:
            self.machine.network.send_datagram(self.address, "\n".join(lines).encode())
        except OSError:
            return False
        return True
