"""What to keep in mind when an evaluation is read, in sentences for who never took a statistics course."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from tellapart.files import counted, quoted, shown
from tellapart.metrics import Z_95, Bin, ClassScores, wilson_interval

WIDE = 0.1  # of the accuracy's interval, from which on a test is called small
WANTED = 0.02  # half the width of the interval that pictures are counted for
FEWEST_OF_CLASS = 10  # test pictures of a class, below which what is said of it is worth little
FEWEST_OF_BIN = 20  # pictures of like confidence that a sentence is made of
BADLY = 0.02  # calibration error from which on it is worth a sentence, where chance does not explain it
MOST_NAMED = 3


def pictures_needed(n_right: int, n: int, half: float = WANTED) -> int:
    """Test pictures that would tell the accuracy within `half` on both sides, to two digits; at least 50."""
    share = (n_right + 2) / (n + 4)  # Agresti and Coull: a perfect score of few is no promise
    needed = max(Z_95**2 * share * (1 - share) / half**2, 50)
    digit = 10 ** (int(math.log10(needed)) - 1)
    return math.ceil(needed / digit) * digit


def small(n_right: int, n: int) -> str | None:
    """That the test is too small to tell, or None."""
    low, high = wilson_interval(n_right, n)
    if high - low <= WIDE:
        return None
    return (
        f"The test is too small to tell: with {counted(n, 'picture')} the accuracy may be anything from {low:.0%} to "
        f"{high:.0%}. About {pictures_needed(n_right, n):,} would tell it within {100 * WANTED:g} points."
    )


def baseline(n_right: int, n: int, share: float) -> str | None:
    """That always giving one answer may be as good, or None. One class alone leaves nothing to beat."""
    if share == 1 or wilson_interval(n_right, n)[0] > share:
        return None
    return f"The accuracy is not surely above that of always answering the commonest class ({share:.1%})."


def classes(scores: Mapping[str, ClassScores]) -> list[str]:
    """That classes have no test pictures, or few."""
    present = [name for name, each in scores.items() if each.support]
    if len(present) == 1:
        return [f"All pictures are of one class, '{shown(present[0])}': how well others are told from it is not known."]
    said = []
    absent = [name for name, each in scores.items() if not each.support]
    if absent:
        said.append(f"Not tested at all, for want of pictures: {quoted(absent, MOST_NAMED)}.")
    few = [name for name in present if scores[name].support < FEWEST_OF_CLASS]
    if few:
        each = ", ".join(f"'{shown(name)}' ({scores[name].support})" for name in few[:MOST_NAMED])
        more = f" and {len(few) - MOST_NAMED:,} more classes" if len(few) > MOST_NAMED else ""
        said.append(f"Fewer than {FEWEST_OF_CLASS} test pictures, so that their own figures say little: {each}{more}.")
    return said


def seen(n_trained_on: int, accuracy: float, unseen: tuple[float, int] | None) -> str | None:
    """That pictures were trained on, or None; `unseen` is accuracy and number of the others, where there are some."""
    if not n_trained_on:
        return None
    were = "was" if n_trained_on == 1 else "were"
    flattered = unseen is None or unseen[0] < accuracy
    so = ", so the accuracy looks better than it is." if flattered else ": they say little about new ones."
    without = " None is left without them." if unseen is None else f" Without them: {unseen[0]:.1%} on {unseen[1]:,}."
    return f"{n_trained_on:,} of these pictures {were} trained on{so}{without}"


def calibration(error: float, by_chance: float, bins: Sequence[Bin]) -> str | None:
    """That probabilities are off by more than chance explains, with the plainest example, or None."""
    if error < BADLY or error <= by_chance:
        return None
    enough = [each for each in bins if each.n >= FEWEST_OF_BIN] or list(bins)
    worst = max(enough, key=lambda each: each.n * abs(each.confidence - each.accuracy))
    how = "too sure" if worst.confidence > worst.accuracy else "not sure enough"
    return (
        f"Do not take its probabilities at their word: where it says about {worst.confidence:.0%}, it is right "
        f"{worst.accuracy:.0%} of the time ({counted(worst.n, 'picture')}): it is {how} of itself."
    )
