"""A node of our own: it comes up, keeps what it was given, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pika
import pytest
from pika.exceptions import ChannelClosedByBroker

from ecomlib.broker import PORTS, PrivateNode, find_server, free_port, listens
from ecomlib.cli import main
from ecomlib.errors import BrokerError
from tests.conftest import NO_RABBITMQ
from tests.support.broker import connection, processes, settle
from tests.support.webhook import LIMIT, wait_until

PERSISTENT = pika.BasicProperties(delivery_mode=2)
needs_a_server = pytest.mark.skipif(find_server() is None, reason=NO_RABBITMQ)


def test_it_takes_connections_and_has_a_management_page(rabbitmq: PrivateNode) -> None:
    with connection(rabbitmq.url) as client:
        assert client.channel().queue_declare("", exclusive=True).method.queue
    passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    passwords.add_password(None, rabbitmq.management_url or "", "guest", "guest")
    direct, basic = urllib.request.ProxyHandler({}), urllib.request.HTTPBasicAuthHandler(passwords)
    with urllib.request.build_opener(direct, basic).open(f"{rabbitmq.management_url}/api/overview") as answer:
        assert b"rabbitmq_version" in answer.read()


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="only Linux shows its sockets in /proc")
def test_only_this_machine_reaches_it(rabbitmq: PrivateNode) -> None:
    """Every socket that it listens on is bound to 127.0.0.1 or ::1."""
    files = [Path(f"/proc/net/{name}").read_text().splitlines()[1:] for name in ("tcp", "tcp6")]
    rows = [line.split() for lines in files for line in lines]
    listening = [row[1].split(":") for row in rows if row[3] == "0A"]
    ours = [(address, int(port, 16)) for address, port in listening if int(port, 16) in rabbitmq.ports]
    assert {port for _, port in ours} == set(rabbitmq.ports)
    assert {address for address, _ in ours} <= {"0100007F", "00000000000000000000000001000000"}


# Another process that has the node, as a notebook or a terminal does.
PARENT = """
import sys
from pathlib import Path
from ecomlib.broker import PrivateNode
node = PrivateNode(Path(sys.argv[1]), management=False, port=int(sys.argv[2]))
node.start()
print(*node.ports, flush=True)
input()
"""


def test_a_crash_costs_no_message_and_no_node_outlives_a_parent_that_is_killed(
    rabbitmq: PrivateNode, tmp_path: Path
) -> None:
    with PrivateNode(tmp_path / "node", management=False) as node:
        with connection(node.url) as client:
            channel = client.channel()
            channel.confirm_delivery()
            channel.queue_declare("kept", durable=True, arguments={"x-queue-type": "quorum"})
            channel.basic_publish("", "kept", b"one order", PERSISTENT)
        with pytest.raises(BrokerError, match=r"A node runs in .* already"):
            PrivateNode(node.folder).start()
        with pytest.raises(BrokerError, match=rf"listens on 127\.0\.0\.1:{node.port} already"):
            PrivateNode(tmp_path / "other", port=node.port).start()
        with connection(rabbitmq.url) as client, pytest.raises(ChannelClosedByBroker, match="no queue"):
            client.channel().queue_declare("kept", passive=True)  # the node beside it has its own
        settle(node, "kept")
        node.kill()
        assert not any(map(listens, node.ports))
    command = [sys.executable, "-c", PARENT, str(node.folder), str(node.port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        try:
            assert parent.stdout
            ports = [int(port) for port in parent.stdout.readline().split()]
            assert ports
            assert all(map(listens, ports))
            with connection(node.url) as client:
                assert client.channel().basic_get("kept", auto_ack=True)[2] == b"one order"
        finally:
            parent.send_signal(signal.SIGKILL)
    wait_until(lambda: not any(map(listens, ports)) and not processes(tmp_path))


@needs_a_server
def test_the_verb_runs_a_node_until_it_is_asked_to_stop(tmp_path: Path) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ECOMLIB_")}
    errors = tmp_path / "said"
    with (
        errors.open("wb") as file,
        subprocess.Popen(
            [sys.executable, "-m", "ecomlib", "broker", "--port", "0", "--json"],
            cwd=tmp_path,
            env={**clean, "TMPDIR": str(tmp_path)},
            stdout=subprocess.PIPE,
            stderr=file,
        ) as verb,
    ):
        try:
            wait_until(lambda: "Ctrl+C" in errors.read_text() or verb.poll() is not None, 2 * LIMIT)
            said = errors.read_text()
            named = re.search(r"export ECOMLIB_RABBITMQ_URL=(\S+)", said)
            assert named, said
            with connection(named[1]) as client:
                assert client.is_open
            verb.send_signal(signal.SIGTERM)
            out, _ = verb.communicate(timeout=LIMIT)
        finally:
            verb.kill()
    found = json.loads(out)
    assert verb.returncode == 0
    assert found["url"] == named[1]
    assert f"management page is at {found['management_url']}" in said
    assert list(tmp_path.iterdir()) == [errors], "the temporary folder is gone"
    wait_until(lambda: not [name for name in processes(tmp_path) if "beam" in name or "epmd" in name])


def test_the_verb_says_when_its_port_is_taken(
    rabbitmq: PrivateNode, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["broker", "--port", str(rabbitmq.port)]) == 1
    assert "--port" in capsys.readouterr().err


def test_a_server_that_ends_at_once_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = tmp_path / "rabbitmq-server"
    server.write_text("#!/bin/sh\necho the disk is full\nexit 1\n")
    server.chmod(0o755)
    monkeypatch.setattr("ecomlib.broker.PLACES", (str(server),))
    with pytest.raises(BrokerError, match=r"ended by itself(.|\n)*the disk is full"):
        PrivateNode(tmp_path / "node").start()
    wait_until(lambda: not processes(tmp_path / "node"))


def test_without_a_server_the_three_ways_are_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ecomlib.broker.PLACES", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert find_server() is None
    ways = r"docker compose up.*apt-get install.*ECOMLIB_RABBITMQ_URL"
    with pytest.raises(BrokerError, match=ways):
        PrivateNode(tmp_path / "node").start()
    assert main(["broker"]) == 1
    assert re.search(ways, capsys.readouterr().err)


def test_a_port_of_its_own_is_none_that_the_system_gives_to_clients() -> None:
    assert free_port() in PORTS
    given: Any = Path("/proc/sys/net/ipv4/ip_local_port_range")
    assert not given.exists() or PORTS.stop <= int(given.read_text().split()[0])
