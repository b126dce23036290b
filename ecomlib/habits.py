"""What real customers do: the figures that the simulated ones are drawn from, and are compared with.

Source: Brazilian E-Commerce Public Dataset by Olist (CC BY-NC-SA 4.0), a sample of 8,135 orders placed between
2016-09-04 and 2018-10-17, times local to America/Sao_Paulo. These are figures about it; none of its data is here.
"""

from __future__ import annotations

from typing import NamedTuple

SAMPLE = 8135  # orders


class Habits(NamedTuple):
    """What was measured of some orders: shares of all of them, and medians over those that got that far."""

    by_hour: tuple[float, ...]  # shares, from midnight on
    by_weekday: tuple[float, ...]  # shares, from Monday on
    unpaid: float
    shipped: float
    cancelled: float
    amount: float  # median, in Brazilian reais
    created_to_paid: float  # medians, in seconds
    paid_to_shipped: float
    shipped_to_delivered: float


HOURS = (
    *(194, 101, 38, 24, 13, 14, 47, 104, 212, 389, 542, 534),  # the hours before noon
    *(549, 523, 510, 516, 544, 495, 499, 489, 530, 488, 457, 323),
)
WEEKDAYS = (1347, 1274, 1245, 1231, 1169, 912, 957)

OLIST = Habits(
    by_hour=tuple(n / SAMPLE for n in HOURS),
    by_weekday=tuple(n / SAMPLE for n in WEEKDAYS),
    unpaid=146 / SAMPLE,
    shipped=6353 / SAMPLE,
    cancelled=625 / SAMPLE,
    amount=108.20,
    created_to_paid=1_241,
    paid_to_shipped=157_913,
    shipped_to_delivered=617_730,
)


class Fate(NamedTuple):
    """How far an order goes, and whether it is cancelled there."""

    paid: bool
    shipped: bool
    delivered: bool
    cancelled: bool


# How many of the orders had which fate. Six that were cancelled after delivery count as cancelled on the way: the
# shop's order service refuses to cancel what has arrived.
FATES: dict[Fate, int] = {
    Fate(False, False, False, False): 5,
    Fate(False, False, False, True): 141,
    Fate(True, False, False, False): 1227,
    Fate(True, False, False, True): 409,
    Fate(True, True, False, False): 1114,
    Fate(True, True, False, True): 75,
    Fate(True, True, True, False): 5164,
}

# Orders in each month of 2017, the data set's one whole year: a young shop that grows, and a Black Friday in November.
MONTHS = (90, 220, 268, 206, 327, 262, 354, 381, 349, 387, 674, 459)

# Quantiles: that share of the values lies below the figure under it. Delays are in minutes; those of the 80 orders
# whose times run backwards count as none.
# fmt: off
LEVELS = (
    0, .01, .025, .05, .1, .15, .2, .25, .3, .35, .4, .45, .5,
    .55, .6, .65, .7, .75, .8, .85, .9, .95, .975, .99, .995, .999, 1,
)
AMOUNT = (
    0.01, 22.29, 27.39, 32.38, 40.06, 47.68, 55.09, 63.11, 70.09, 77.87, 87.37, 97.87, 108.20,
    119.57, 134.25, 147.40, 166.51, 188.39, 217.08, 259.43, 334.96, 550.20, 777.14, 1287.39, 1794.92, 2675.95, 4950.34,
)
CREATED_TO_PAID = (
    0, 0, 7.2, 8.5, 10.0, 11.0, 11.8, 12.8, 13.7, 14.9, 16.3, 18.2, 20.7,
    25.4, 41.5, 81.1, 521.2, 938.1, 1430.1, 1629.7, 2154.9, 3038.6, 4159.8, 5984.2, 7436.9, 15118.1, 270550.8,
)
PAID_TO_SHIPPED = (
    0, 0, 144.2, 411.8, 684.1, 923.4, 1119.5, 1272.9, 1442.3, 1622.5, 1860.7, 2223.9, 2631.9,
    3003.6, 3528.1, 4095.9, 4542.1, 5306.4, 5990.7, 7125.7, 8696.9, 12107.8, 18970.6, 27152.2, 34677.2, 55770, 88056.7,
)
SHIPPED_TO_DELIVERED = (
    0, 1162.4, 1422.1, 1617.6, 2688.5, 4042.0, 4752.9, 5957.3, 7192.0, 8035.3, 8819.6, 9777.2, 10295.5,
    11264.5, 11923.8, 13355.7, 14736.0, 17225.9, 19141.4, 21580.4, 26864.7, 34609.3, 44162.2, 59693.4, 74034.6, 103395,
    187375.2,
)
# fmt: on
