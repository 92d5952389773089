"""What two models' right and wrong answers to the same pictures mean, in a sentence or two."""

from __future__ import annotations

from tellapart import paired
from tellapart.files import counted

MOST_NEEDED = 10_000_000  # pictures; nobody has more to compare on


def sentence(n_fixed: int, n_broken: int, n: int) -> str:
    """Which of A and B is better, and by how much, where B fixes some pictures of `n` and breaks others."""
    fixed, broken = counted(n_fixed, "picture"), f"{n_broken:,}"
    low, high = paired.difference_interval(n_fixed, n_broken, n)
    if low > 0:
        return f"B is better: {_points(low)} to {_points(high)} points, {fixed} fixed, {broken} broken."
    if high < 0:
        return f"A is better: {_points(-high)} to {_points(-low)} points; B fixes {fixed} and breaks {broken}."
    if not n_fixed and not n_broken:
        same = "both are right on the same pictures"
        return f"No difference can be told: {same}, so that it is at most {_points(high)} points either way."
    said = f"No difference can be told: B is {_between(low, high)} ({n_fixed:,} fixed, {broken} broken)."
    needed = paired.needed(n_fixed, n_broken, n)
    if needed is None:
        return said
    if needed > MOST_NEEDED:
        return f"{said} A difference of this size could hardly ever be told."
    return f"{said} About {_round_up(needed):,} pictures would be needed to tell a difference of this size."


def _points(share: float) -> str:
    """A share in points, with a digit that is not 0: 1.2, 0.04, 0."""
    points = 100 * abs(share)
    return "0" if points < 0.0005 else f"{points:.1f}" if points >= 0.095 else f"{points:.1g}"


def _between(low: float, high: float) -> str:
    if low == 0:
        return f"between no and {_points(high)} points better"
    if high == 0:
        return f"between {_points(low)} points and not at all worse"
    return f"between {_points(low)} points worse and {_points(high)} better"


def _round_up(n: int) -> int:
    """`n` with two digits that count."""
    step = 10 ** max(len(str(n)) - 2, 0)
    return -(-n // step) * step
