"""Many looks at the same items: how much of the best one is luck.

Six checkpoints that are equally good have six scores, and the highest of them
looks like a gain. Holm's correction keeps the chance of calling any of them
better by luck at 5 %; optimism says how much too high the best one's score is.
"""

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Correct p-values for there being several, in the order given.

    Holm 1979, Scandinavian Journal of Statistics 6:65; statsmodels' ``multipletests(p, method="holm")``.
    """
    looks = len(p_values)
    corrected = [0.0] * looks
    highest = 0.0
    for rank, place in enumerate(sorted(range(looks), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (looks - rank) * p_values[place]))
        corrected[place] = highest
    return tuple(corrected)


def optimism(looks: int) -> float:
    """How many standard errors the best of so many equally good models looks too good.

    The expected largest of ``looks`` independent standard normal values: 0.56 for 2, 1.16 for 5, 1.87 for
    20. It is at most this much: models that answer alike are no independent looks.
    """
    from scipy.integrate import quad
    from scipy.special import ndtr

    if looks < 2:
        return 0.0

    def beyond(x: float) -> float:
        """P(largest > x) - P(largest < -x), whose integral over x > 0 is the expectation."""
        return float(1 - ndtr(x) ** looks - ndtr(-x) ** looks)

    return float(quad(beyond, 0.0, 12.0)[0])
