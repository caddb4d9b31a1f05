"""Laws of what may be asked of a Run: text and meaning turn into each other, and nothing is read that cannot be printed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipload.errors import CliploadError
from clipload.plan import Plan
from clipload.slo import Objective, Precision, Subject, parse_objectives

PERCENTS = st.floats(50, 99.9) | st.sampled_from([50.0, 90.0, 95.0, 97.5, 99.0, 99.9])
QUANTILES = st.builds(Subject, st.sampled_from(["latency", "service"]), PERCENTS)
TIMES = st.integers(1, 10**13)
NUMBERS = st.floats(1e-9, 1e12)
SHARES = st.floats(1e-12, 100)


def decimal(number: float) -> str:
    return f"{number:.15f}".rstrip("0").rstrip(".")


OBJECTIVE_TEXTS = st.one_of(
    st.builds("{}<{}ns".format, QUANTILES, TIMES),
    st.builds(
        "{} < {}{}".format, QUANTILES, st.integers(1, 999), st.sampled_from(["us", "µs", "ms", "s", "m", "h", ".5ms", "m30s"])
    ),
    SHARES.map(decimal).map("errors<{}%".format).filter(lambda text: text != "errors<0%"),
    NUMBERS.map(decimal).map(" throughput >{} /s ".format),
)
WIDTHS = SHARES.map(decimal).filter(lambda width: width != "0")
SUBJECTS = QUANTILES | st.just(Subject("throughput"))
PRECISION_TEXTS = st.builds("{}{}{}%".format, SUBJECTS, st.sampled_from(["±", "+-", " +/- "]), WIDTHS)
LAW = settings(max_examples=150, deadline=None)


@LAW
@given(OBJECTIVE_TEXTS)
def test_an_objective_reads_back_from_what_it_prints(text: str) -> None:
    objective = Objective.parse(text)
    assert Objective.parse(str(objective)) == objective
    assert " " not in str(objective)


@LAW
@given(PRECISION_TEXTS)
def test_a_precision_reads_back_from_what_it_prints(text: str) -> None:
    precision = Precision.parse(text)
    assert Precision.parse(str(precision)) == precision
    assert 0 < precision.width <= 1


@LAW
@given(st.lists(OBJECTIVE_TEXTS, min_size=1, max_size=4))
def test_several_may_be_one_text_or_many(texts: list[str]) -> None:
    apart = [Objective.parse(text) for text in texts]
    assert list(parse_objectives(",".join(texts))) == apart
    if len(set(apart)) == len(apart):
        assert Plan(slo=texts).slo == Plan(slo=",".join(texts)).slo == tuple(map(str, apart))  # type: ignore[arg-type]


@LAW
@given(st.text("p0123456789.<>=±+-/%mserrosthughputvice ", max_size=20))
def test_any_text_is_read_or_refused_with_an_example(text: str) -> None:
    for kind in (Objective, Precision):
        try:
            found = kind.parse(text)
        except CliploadError as error:
            refused = error
        else:
            assert kind.parse(str(found)) == found
            continue
        assert refused.remedy


@LAW
@given(PERCENTS)
def test_a_percentile_is_the_quantile_that_its_text_says(percent: float) -> None:
    assert Subject("latency", percent).q == pytest.approx(percent / 100)
    assert Subject("latency", 99.9).q == 0.999
