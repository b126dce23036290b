"""A log's folder and the folders of its topics: how they are told from others, and how they come to be."""

from __future__ import annotations

import os
import re
import shutil
import uuid
from pathlib import Path

from ecomlib.errors import LogError, NotALog
from ecomlib.files import disk_errors, make_folder, sync_folder

FORMAT = '{"format": 1}\n'
MARKER = "log.json"  # says that this folder is a log, so that nobody takes another folder for one
OURS = ("_groups", "_sagas", "_stores", "_webhook")  # what may stand beside the topics, and come first
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,99}")  # of a topic, a group or a member: a file can be called so anywhere


def check_log(folder: Path) -> None:
    if not folder.exists():
        raise NotALog(f"There is no log at {folder}: the folder does not exist.")
    if not folder.is_dir() or not (folder / MARKER).is_file():
        raise NotALog(f"{folder} is not an event log: it has no {MARKER}. Name a folder that ecomlib wrote.")
    with disk_errors(folder):
        written = (folder / MARKER).read_bytes()
    if written != FORMAT.encode():
        raise NotALog(f"{folder} says in {MARKER} {written!r:.40}: this ecomlib reads only {FORMAT.strip()}.")


def no_log_yet(folder: Path) -> bool:
    """Whether nothing is there, or no more than may come before a log's first topic: an append makes the rest."""
    with disk_errors(folder):
        if not folder.is_dir():
            return not folder.exists()
        return all(name.startswith(MARKER) or name in OURS for name in os.listdir(folder))


def make_log(folder: Path) -> None:
    if not no_log_yet(folder):
        check_log(folder)  # what is something else is left alone
    make_folder(folder)
    if not (folder / MARKER).exists():  # comes first, and at once: another process may be making it too
        beside = folder / f"{MARKER}.{uuid.uuid4().hex}"
        beside.write_bytes(FORMAT.encode())
        os.replace(beside, folder / MARKER)


def partitions_in(folder: Path) -> int:
    """How many the topic in this folder has: 0 for what is no topic. Raises `LogError` where one between is gone."""
    if not NAME.fullmatch(folder.name) or not folder.is_dir():
        return 0
    names = {name for name in os.listdir(folder) if name.endswith(".log")}
    for number in range(len(names)):
        if f"{number}.log" not in names:
            raise LogError(f"{folder / str(number)}.log is missing: put it back, the topic can't be read without it.")
    return len(names)


def make_partitions(folder: Path, partitions: int, *, durable: bool) -> None:
    """A topic's folder with its files, all at once. Does nothing where another process has just made it."""
    beside = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
    beside.mkdir()
    for number in range(partitions):
        (beside / f"{number}.log").touch()
    try:
        os.rename(beside, folder)
    except OSError:
        shutil.rmtree(beside)
        if not partitions_in(folder):
            raise
    if durable:
        sync_folder(folder)
        sync_folder(folder.parent)
