"""What tests of a real RabbitMQ share: clients of a node, and what a node has open or has written down."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pika

from ecomlib.broker import PrivateNode
from tests.support.webhook import wait_until


def connection(url: str) -> Any:
    return pika.BlockingConnection(pika.URLParameters(url))


def settle(node: PrivateNode, *queues: str) -> None:
    """Waits until a crash can't take these quorum queues away any more: half a second after they were declared.

    RabbitMQ confirms the declaration before it has written the queue's name into its list of members. Killed in
    between it comes back with a queue that has no leader, for ever, and the messages in it are out of reach.
    """

    def written() -> bool:
        lists = b"".join(path.read_bytes() for path in node.folder.rglob("names.dets"))
        return all(f"%2F_{queue}".encode() in lists for queue in queues)

    wait_until(written)


def processes(folder: Path) -> list[str]:
    """The programs that run with this folder as their home, or with a file of it, where /proc tells."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            text = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:  # it has just ended, or is somebody else's
            continue
        if bytes(folder) in text:
            found.append(text.partition(b"\0")[0].decode(errors="replace"))
    return found
