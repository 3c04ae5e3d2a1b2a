"""What systemd is told about us: datagrams to the socket it named in the environment, and nothing where it named none.

The protocol is sd_notify(3): lines of `KEY=value` in one datagram. Telling never waits and never fails: a service
manager that does not listen is no reason to stop collecting.
"""

import os
from collections.abc import Mapping

import attrs

from collector.machine import THIS_MACHINE, Machine


@attrs.frozen
class Notify:
    """Whoever started us. `address` is empty when nobody wants to hear; `watchdog_s` is 0 when nobody counts on it."""

    address: str = ""
    watchdog_s: float = 0.0
    machine: Machine = THIS_MACHINE

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Notify":
        """Who is named in the environment of this process."""
        address = environment.get("NOTIFY_SOCKET", "")
        if not address.startswith(("/", "@")):
            return cls()
        meant = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        microseconds = environment.get("WATCHDOG_USEC", "")
        return cls(address, int(microseconds) / 1e6 if meant and microseconds.isdecimal() else 0.0)

    def ready(self) -> bool:
        return self._tell("READY=1")

    def status(self, text: str) -> bool:
        """One line for `systemctl status`."""
        return self._tell("STATUS=" + " ".join(text.split()))

    def alive(self) -> bool:
        return self._tell("WATCHDOG=1")

    def starting(self, seconds: float) -> bool:
        """The start takes longer; give us so much more from now."""
        return self._tell(f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}")

    def reloading(self) -> bool:
        return self._tell("RELOADING=1", f"MONOTONIC_USEC={self.machine.clock.elapsed_ns() // 1000}")

    def stopping(self) -> bool:
        return self._tell("STOPPING=1")

    def _tell(self, *lines: str) -> bool:
        """Whether the words are on their way."""
        if not self.address:
            return False
        try:
            self.machine.network.send_datagram(self.address, "\n".join(lines).encode())
        except OSError:
            return False
        return True
