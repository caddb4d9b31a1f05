"""The two distributions that intervals need: beta, and Student's t through it. Pure arithmetic on floats.

Laws: I_x(a, b) = 1 − I_{1−x}(b, a); each quantile is the inverse of its distribution. To eight digits for shapes up to
10⁵; to five at 10⁸, where the logarithms of the gamma function cancel.
"""

from __future__ import annotations

import math
from functools import lru_cache

_TINY = 1e-300  # stands for 0 in Lentz's fractions
_DIGITS = 1e-15


def beta_cdf(x: float, a: float, b: float) -> float:
    """I_x(a, b), the regularised incomplete beta function: P(X ≤ x). ValueError unless a, b > 0 and 0 ≤ x ≤ 1.

    By the continued fraction (DLMF 8.17.22) on the side of the mean where it converges in O(√max(a, b)) steps.
    """
    if not (a > 0 and b > 0 and 0 <= x <= 1):
        raise ValueError(f"beta({a}, {b}) at {x}")
    if x in (0.0, 1.0):
        return x
    if x > (a + 1) / (a + b + 2):
        return 1.0 - _tail(1 - x, b, a)
    return _tail(x, a, b)


def _tail(x: float, a: float, b: float) -> float:
    return math.exp(_log_power(x, a, b)) / a / _fraction(x, a, b)


def _log_power(x: float, a: float, b: float) -> float:
    """log of x^a (1−x)^b / B(a, b)."""
    return a * math.log(x) + b * math.log1p(-x) + math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)


def _fraction(x: float, a: float, b: float) -> float:
    """1 + d₁/(1 + d₂/(1 + …)) by Lentz's method as modified by Thompson and Barnett."""
    value, c, d, n = 1.0, 1.0, 0.0, 0
    while True:
        n += 1
        m = n // 2
        if n % 2:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d = 1 / (1 + term * d or _TINY)
        c = 1 + term / c or _TINY
        value *= c * d
        if abs(c * d - 1) < _DIGITS:
            return value


def beta_quantile(p: float, a: float, b: float) -> float:
    """The x with I_x(a, b) = p, by Newton's steps kept within a bracket. ValueError unless 0 ≤ p ≤ 1 and a, b > 0."""
    if not 0 <= p <= 1:
        raise ValueError(f"a probability of {p}")
    if p in (0.0, 1.0):
        return p
    low, high, x = 0.0, 1.0, a / (a + b)
    while True:
        error = beta_cdf(x, a, b) - p
        low, high = (low, x) if error > 0 else (x, high)
        density = math.exp(_log_power(x, a, b)) / (x * (1 - x))
        step = x - error / density if density else low
        following = step if low < step < high else (low + high) / 2
        if abs(following - x) <= 1e-12 * x or following in (low, high):
            return following
        x = following


@lru_cache(maxsize=1024)
def student_quantile(p: float, df: float) -> float:
    """The p-quantile of Student's t with `df` > 0 degrees of freedom. ValueError unless 0 < p < 1.

    P(|T| > t) = I_x(df/2, 1/2) with x = df/(df + t²), hence t = √(df (1−x)/x); whichever of x and 1 − x is far from 1 is
    sought, which keeps the digits.
    """
    if not (0 < p < 1 and df > 0):
        raise ValueError(f"Student's t with {df} degrees of freedom at {p}")
    if p < 0.5:
        return -student_quantile(1 - p, df)
    if p < 0.75:
        rest = beta_quantile(2 * p - 1, 0.5, df / 2)
        return math.sqrt(df * rest / (1 - rest))
    x = beta_quantile(2 * (1 - p), df / 2, 0.5)
    return math.sqrt(df * (1 - x) / x)
