"""Which names and addresses mean the machine itself."""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import ip_address


@lru_cache(32)  # few: strangers write them
def is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


@lru_cache(32)  # few: strangers write them
def name_in(header: str) -> str:
    """The name in a `Host` header, without the port (RFC 9110, section 7.2); "" where the header can't be read."""
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9.-]+))(?::[0-9]{1,5})?", header)
    return (found[1] or found[2]).lower() if found else ""
