"""Names that nobody else has given: random ones, or, for runs that repeat, seeded ones."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable

NewId = Callable[[], str]


def new_id() -> str:
    return str(uuid.uuid4())


def seeded_ids(seed: int | str) -> NewId:
    """Ids that look like any others, and are the same ones in every run with this seed."""
    bits = random.Random(f"ids {seed}").getrandbits
    return lambda: str(uuid.UUID(int=bits(128), version=4))
