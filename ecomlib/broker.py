"""A RabbitMQ node of our own, where the server is installed: all of it in one folder, and gone with its parent."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from ecomlib.errors import BrokerError
from ecomlib.locks import FileLock, FileLocks

LOCAL = "127.0.0.1"
THREE_WAYS = (
    "Lesson 7 needs one, and there are three ways to it: `docker compose up -d --wait` in the project's folder; "
    "apt-get install rabbitmq-server, or brew install rabbitmq, and then `ecomlib broker`; or ECOMLIB_RABBITMQ_URL, "
    "set to any RabbitMQ that you may use."
)
# The server itself. Debian's command of the same name on PATH changes the user and the folder first.
PLACES = (
    "/usr/lib/rabbitmq/bin/rabbitmq-server",
    "/opt/homebrew/opt/rabbitmq/sbin/rabbitmq-server",
    "/usr/local/opt/rabbitmq/sbin/rabbitmq-server",
)
# Below those that systems give to clients: who knocks at such a port again and again can end up connected to itself.
PORTS = range(20_000, 32_000)
START, STOP = 60.0, 15.0  # seconds
# The keeper leads the process group of all that belongs to a node; `kill 0` reaches the whole group. It does so when
# the server ends, and when the pipe from our process closes, however our process ended.
KEEPER = 'epmd -address 127.0.0.1 & ("$0"; kill -KILL 0) & read -r _; kill -KILL 0'
CONFIG = """\
listeners.tcp.local = {local}:{port}
disk_free_limit.absolute = 50MB
raft.wal_max_size_bytes = 64000000
"""
MANAGEMENT = """\
management.tcp.ip = {local}
management.tcp.port = {http}
collect_statistics_interval = 1000
"""


def find_server() -> Path | None:
    """What `PrivateNode` starts. None where RabbitMQ is not installed, and on Windows."""
    if os.name == "nt":
        return None
    found = next((path for path in PLACES if os.access(path, os.X_OK)), None) or shutil.which("rabbitmq-server")
    return Path(found) if found else None


def free_port() -> int:
    """One on which nobody listened a moment ago, and that no client is given by chance."""
    for port in random.sample(PORTS, len(PORTS)):
        with socket.socket() as probe, suppress(OSError):
            probe.bind((LOCAL, port))
            return port
    raise BrokerError(f"Every port from {PORTS.start} to {PORTS.stop} is taken.")


class PrivateNode:
    """RabbitMQ on ports of this machine that only this machine reaches; user and password are `guest`.

    It keeps its data in `folder` from one start to the next, and ends with this process at the latest, even if that is
    killed. Without `management` it starts faster, and has neither the page nor the HTTP API.
    """

    def __init__(self, folder: Path, *, management: bool = True, port: int | None = None) -> None:
        self.folder = folder.resolve()
        self.port = port or free_port()
        self._http = free_port() if management else None
        self._epmd, self._distribution = free_port(), free_port()
        self._log = self.folder / "node.log"
        self._pid = self.folder / "node.pid"
        self._lock: FileLock | None = None
        self._keeper: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@{LOCAL}:{self.port}/"

    @property
    def ports(self) -> tuple[int, ...]:
        """All that it listens on."""
        return (self.port, self._epmd, self._distribution, *([self._http] if self._http else []))

    @property
    def management_url(self) -> str | None:
        return f"http://{LOCAL}:{self._http}" if self._http else None

    def start(self) -> None:
        """Blocks until the node takes connections, some seconds. Raises `BrokerError` where it does not come up."""
        server = find_server()
        if server is None:
            raise BrokerError(f"RabbitMQ is not installed here. {THREE_WAYS}")
        if self._keeper is not None and self._keeper.poll() is not None:
            self.kill()  # it ended by itself: what is left of it goes
        if listens(self.port):
            raise BrokerError(f"Something listens on {LOCAL}:{self.port} already: stop it, or name another port.")
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLocks(self.folder).take("node")
        if self._lock is None:
            raise BrokerError(f"A node runs in {self.folder} already: name another folder, or stop that one.")
        self._configure()
        with self._log.open("wb") as log:
            self._keeper = subprocess.Popen(
                ["sh", "-c", KEEPER, str(server)],
                cwd=self.folder,
                env=self._environment(),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START
        try:
            while not self._answers():
                self.wait(0.05)
                if time.monotonic() > deadline:
                    raise BrokerError(f"RabbitMQ is not up after {START:.0f} s. {self._last_words()}")
        except BaseException:
            self.kill()
            raise

    def wait(self, seconds: float) -> None:
        """Blocks so long. Raises `BrokerError` when the node ends meanwhile, and nobody here has asked it to."""
        if self._keeper is not None:
            with suppress(subprocess.TimeoutExpired):
                self._keeper.wait(seconds)
                raise BrokerError(f"RabbitMQ has ended by itself. {self._last_words()}")

    def stop(self) -> None:
        """Lets the node close what is open, for some seconds at most. Does nothing where it does not run."""
        if self._keeper is not None:
            with suppress(OSError, ValueError, subprocess.TimeoutExpired):  # it is not there any more, or too slow
                os.kill(int(self._pid.read_text()), signal.SIGTERM)
                self._keeper.wait(STOP)
        self.kill()

    def kill(self) -> None:
        """Ends the node as a crash would. When it returns the ports are free; `start` finds the data as it was."""
        if self._keeper is None:
            return
        with suppress(ProcessLookupError, PermissionError):  # which macOS says of a group that has ended
            os.killpg(self._keeper.pid, signal.SIGKILL)
        self._keeper.wait()
        if self._keeper.stdin:
            self._keeper.stdin.close()
        self._keeper = None
        deadline = time.monotonic() + STOP
        while any(map(listens, self.ports)) and time.monotonic() < deadline:
            time.sleep(0.01)
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _last_words(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines()
        return "\n".join([f"The end of its log, {self._log}:", *filter(None, lines[-20:])])

    def _configure(self) -> None:
        self._pid.unlink(missing_ok=True)  # of an earlier start: by now it may be anybody's
        config = CONFIG + (MANAGEMENT if self._http else "")
        (self.folder / "rabbitmq.conf").write_text(config.format(local=LOCAL, port=self.port, http=self._http))
        plugins = "[rabbitmq_management]." if self._http else "[]."
        (self.folder / "enabled_plugins").write_text(plugins)

    def _environment(self) -> dict[str, str]:
        """Nothing of the machine's own RabbitMQ, and everything in the folder."""
        foreign = ("RABBITMQ_", "ERL_", "NOTIFY_SOCKET")
        clean = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        return clean | {
            "HOME": str(self.folder),
            "RABBITMQ_NODENAME": "ecomlib@localhost",  # the data is found by it; no two nodes share an epmd
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._distribution),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_PID_FILE": str(self._pid),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_CONFIG_FILES": str(self.folder / "conf.d"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self.folder / "advanced.config"),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "rabbitmq-env.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 -kernel inet_dist_use_interface {127,0,0,1}",
            "RUNNING_UNDER_SYSTEMD": "true",  # no shell between the keeper and the server, so the pid file is right
            "ERL_EPMD_PORT": str(self._epmd),
            "ERL_EPMD_ADDRESS": LOCAL,
            "ERL_CRASH_DUMP_SECONDS": "0",  # no dump
        }

    def _answers(self) -> bool:
        amqp = _asked(self.port, b"AMQP\x00\x00\x09\x01").startswith(b"\x01")
        return amqp and (self._http is None or _asked(self._http, b"GET / HTTP/1.0\r\n\r\n").startswith(b"HTTP"))


def listens(port: int) -> bool:
    """Whether somebody takes connections at that port of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex((LOCAL, port)) == 0


def _asked(port: int, question: bytes) -> bytes:
    """The first bytes of the answer; none where there is no answer."""
    with suppress(OSError), socket.create_connection((LOCAL, port), timeout=1) as there:
        there.sendall(question)
        return there.recv(4)
    return b""
