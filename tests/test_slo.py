"""Objectives and precisions as people write them, and what is said of those that cannot be."""

from __future__ import annotations

import pytest

from clipload.errors import CliploadError
from clipload.slo import Objective, Precision, Subject


@pytest.mark.parametrize(
    ("text", "subject", "relation", "limit", "printed"),
    [
        ("p99<200ms", Subject("latency", 99.0), "<", 200e6, "p99<200ms"),
        (" p99.9 < 1.5s ", Subject("latency", 99.9), "<", 1.5e9, "p99.9<1500ms"),
        ("p50<1m30s", Subject("latency", 50.0), "<", 90e9, "p50<90s"),
        ("p97.50<800us", Subject("latency", 97.5), "<", 800e3, "p97.5<800us"),
        ("service.p90<50ms", Subject("service", 90.0), "<", 50e6, "service.p90<50ms"),
        ("errors<0.1%", Subject("errors"), "<", 0.001, "errors<0.1%"),
        ("errors < 100 %", Subject("errors"), "<", 1.0, "errors<100%"),
        ("throughput>400/s", Subject("throughput"), ">", 400.0, "throughput>400/s"),
        ("throughput > 0.50 /s", Subject("throughput"), ">", 0.5, "throughput>0.5/s"),
    ],
)
def test_an_objective(text: str, subject: Subject, relation: str, limit: float, printed: str) -> None:
    objective = Objective.parse(text)
    assert (objective.subject, objective.relation, objective.limit, str(objective)) == (subject, relation, limit, printed)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        *(
            (text, "is not an objective")
            for text in ("", "p99", "p99<", "<200ms", "99<200ms", "p99=200ms", "P99<200ms", "p<1s")
        ),
        *((text, "is not an objective") for text in ("mean<1s", "service.errors<1%", "lag.p99<1s", "p<1s")),
        ("p99>200ms", "wrong side"),
        ("errors>1%", "wrong side"),
        ("throughput<400/s", "wrong side"),
        ("p99<=200ms", "no duration"),
        ("p99<1ms<2ms", "no duration"),
        ("p99<fast", "no duration"),
        ("p99<200", "ms or s"),
        ("p99<0ms", "no time at all"),
        ("p49<1s", "p50 to p99.9"),
        ("p100<1s", "p50 to p99.9"),
        ("p99.99<1s", "p50 to p99.9"),
        ("errors<0.1", "no limit in %"),
        ("errors<0%", "0 % of errors"),
        ("errors<101%", "101 % of errors"),
        ("throughput>400", "no limit in /s"),
        ("throughput>-1/s", "no limit in /s"),
    ],
)
def test_what_is_no_objective_is_refused_with_an_example(text: str, said: str) -> None:
    with pytest.raises(CliploadError) as caught:
        Objective.parse(text)
    assert said in caught.value.what + caught.value.remedy
    assert any(example in caught.value.remedy for example in ("p99<200ms", "errors<0.1%", "throughput>400/s", "p50", "at most"))


@pytest.mark.parametrize("text", ["p99±10%", "p99+-10%", "p99 +/- 10.0 %"])
def test_a_precision(text: str) -> None:
    precision = Precision.parse(text)
    assert (precision.subject, precision.width, str(precision)) == (Subject("latency", 99.0), 0.1, "p99±10%")


@pytest.mark.parametrize("text", ["", "p99", "p99±", "p99±10", "p99±10ms", "errors±10%", "p99±0%", "p99±101%", "p10±5%"])
def test_what_is_no_precision_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(CliploadError) as caught:
        Precision.parse(text)
    assert "p99±10%" in caught.value.remedy or "p50" in caught.value.remedy
