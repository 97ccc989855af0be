"""Health checks of containers, against servers that answer, refuse, and have sessions for a while."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from infra.probe import main, sessions, until_idle


class Server(HTTPServer):
    """Tells so many sessions, one fewer each time it is asked."""

    left = 2
    status = 200


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.send_response(self.server.status)
        self.end_headers()
        told = f'headroom_sessions{{checkpoint="a"}} {self.server.left}.0\nheadroom_sessions{{checkpoint="b"}} 0.0\n'
        told += f"headroom_sessions_free {9 - self.server.left}.0\n"
        self.wfile.write(told.encode() if self.path == "/metrics" else b"ok")
        self.server.left = max(0, self.server.left - (self.path == "/metrics"))

    def log_message(self, *_: object) -> None:
        """Not to the terminal."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def at(server: Server, path: str) -> str:
    return f"http://127.0.0.1:{server.server_port}{path}"


def test_an_answer_is_health_and_nothing_else(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([at(server, "/health")]) == 0
    server.status = 503
    assert main([at(server, "/health")]) == 1
    assert "503" in capsys.readouterr().err
    assert main(["http://127.0.0.1:1/health"]) == 1
    assert main(["file:///etc/passwd"]) == 1
    assert "give one that begins with http" in capsys.readouterr().err


def test_it_waits_for_the_last_session_and_no_longer(server: Server) -> None:
    assert sessions(at(server, "/metrics")) == 2
    server.left = 3
    assert until_idle(at(server, "/metrics"), 30, poll_s=0.01)
    assert server.left == 0
    server.left = 1000
    assert not until_idle(at(server, "/metrics"), 0.05, poll_s=0.01)
    assert main(["--until-idle", "0", at(server, "/metrics")]) == 1


def test_a_server_that_is_gone_has_no_sessions() -> None:
    assert until_idle("http://127.0.0.1:1/metrics", 30, poll_s=0.01)


def test_an_error_is_not_taken_for_idleness(server: Server) -> None:
    server.status = 500
    assert not until_idle(at(server, "/metrics"), 0.05, poll_s=0.01)
    server.status = 200
    with pytest.raises(ValueError, match="tells no headroom_sessions"):
        sessions(at(server, "/health"))
