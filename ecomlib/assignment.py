"""Who should hold which partition: a pure function, which each member of a consumer group works out for itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

Place = tuple[str, int]  # a topic and a partition of it
Topics = Mapping[str, int]  # a member's topics, with their number of partitions


def deal(members: Mapping[str, Topics], held: Mapping[Place, str]) -> dict[Place, str]:
    """Who should hold each partition of the members' topics: one of those that subscribe to its topic.

    Sticky: who holds a partition keeps it, as far as balance allows. Balanced: no partition could move to a member
    that has two fewer; members with the same topics differ by one at most. The same members, in the same order, with
    the same partitions in hand, get the same deal.
    """
    places = sorted({(topic, n) for topics in members.values() for topic, size in topics.items() for n in range(size)})
    takers = {place: [id for id, topics in members.items() if place[0] in topics] for place in places}
    dealt = {place: held[place] for place in places if held.get(place) in takers[place]}
    hands = Counter(dealt.values())
    for place in sorted(places, key=lambda place: len(takers[place])):  # first where there is least choice
        if place not in dealt:
            dealt[place] = min(takers[place], key=lambda id: hands[id])
            hands[dealt[place]] += 1
    while move := _better(places, takers, dealt, hands):
        place, taker = move
        hands[dealt[place]] -= 1
        hands[taker] += 1
        dealt[place] = taker
    return dealt


def _better(
    places: list[Place], takers: dict[Place, list[str]], dealt: dict[Place, str], hands: Counter[str]
) -> tuple[Place, str] | None:
    """A move that evens two hands out. Each one makes the sum of their squares smaller, so it comes to an end."""
    for giver, full in hands.most_common():
        for place in reversed(places):
            if dealt[place] == giver:
                taker = min(takers[place], key=lambda id: hands[id])
                if full - hands[taker] >= 2:
                    return place, taker
    return None
