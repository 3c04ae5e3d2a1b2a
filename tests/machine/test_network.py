"""What the system says of a connection that failed."""

import errno
import os
import socket
import ssl

import pytest

from collector.machine.network import words_of

REFUSED, AWAY = os.strerror(errno.ECONNREFUSED), os.strerror(errno.ENETUNREACH)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ECONNREFUSED, f"Error connecting to ('127.0.0.1', 8890): {REFUSED}"), REFUSED),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "Name or service not known"),
        (
            ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number"),
            "[SSL: WRONG_VERSION_NUMBER] wrong version number",
        ),
        (OSError("no route to host"), "no route to host"),
        (
            ExceptionGroup(
                "all attempts failed",
                [OSError(errno.ENETUNREACH, "x"), OSError(errno.ECONNREFUSED, "y"), OSError(errno.ECONNREFUSED, "z")],
            ),
            f"{AWAY}; {REFUSED}",
        ),
    ],
)
def test_a_failed_connection_is_told_in_words_without_number_and_address(error: Exception, words: str) -> None:
    assert words_of(error) == words
