"""A place for the files of a desk that was given none."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from pathlib import Path


def scratch(owner: object) -> Path:
    """A folder that does not exist yet; what is in it goes away with its owner."""
    folder = Path(tempfile.mkdtemp(prefix="ecomlib-"))
    weakref.finalize(owner, shutil.rmtree, folder, ignore_errors=True)
    return folder / "log"
