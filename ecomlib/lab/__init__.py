"""The laboratory: what lessons show and readers click. It needs the Jupyter packages; the rest of ecomlib does not."""

from ecomlib.lab import charts
from ecomlib.lab.checks import check, hint, solution
from ecomlib.lab.desk import Desk
from ecomlib.lab.history import History
from ecomlib.lab.panel import Panel, presenter
from ecomlib.lab.source import show_code
from ecomlib.lab.time_machine import TimeMachine

__all__ = ["Desk", "History", "Panel", "TimeMachine", "charts", "check", "hint", "presenter", "show_code", "solution"]
