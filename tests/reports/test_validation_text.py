"""What `clipload validate` shows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from clipload.reports import validation as report
from clipload.sources.listing import Named
from clipload.validation import Parity, Rejected, Scored, Validation
from clipload.validation.groups import Group
from clipload.validation.oddities import Oddities
from clipload.validation.pairs import Pairs
from clipload.validation.parity import compare
from clipload.values import Text


def test_groups() -> None:
    groups = [
        Scored(Group(7, "a.jpg", ("x", "y"), ("z",)), np.array([0.5, 0.25, 0.125])),
        Scored(Group(9, "b.jpg", ("x",), ("w",)), np.array([0.25, 0.375])),
    ]
    odd = Oddities(missing=("c.jpg (line 3): gone",))
    found = Validation(server="http://h", oddities=odd, notes=["a note"], groups=groups, dump=Path("d.txt"))
    assert report.text(found, 10).splitlines() == [
        "server  http://h",
        "  images that are not there: 1",
        "    c.jpg (line 3): gone",
        "note    a note",
        "groups  2 (7 to 9): 3 captions, 2 distractors",
        "        cosine of an image with its own captions 0.333333 on average, 0.250000 to 0.500000",
        "        with distractors 0.250000 on average, 0.125000 to 0.375000",
        "        every caption of its own above every distractor in 1 groups",
        "saved   d.txt",
    ]
    document = json.loads(json.dumps(report.document(found, 10)))
    assert document["groups"][1]["scores"][1] == {"text": "w", "score": 0.375, "own": False}
    assert (document["exit_code"], document["groups"][0]["found"], document["groups"][1]["found"]) == (0, True, False)


def test_parity() -> None:
    ours = np.eye(4, dtype=np.float32)
    theirs = ours.copy()
    theirs[[1, 2]] = theirs[[2, 1]]
    theirs[3, 0] = 0.1
    names = ["a.jpg#0", "b.jpg#0", "a.jpg", "b.jpg"]
    kinds = ["text", "text", "image", "image"]
    pairs = Pairs([Named(name, 0, kind, Text("")) for name, kind in zip(names, kinds)], 2 * theirs, ours)
    facts = {"backend": "openvino", "chosen": {"asked": "auto", "why": "it was the faster"}}
    parity = Parity(names, kinds, compare(theirs, ours, 1e-5), 1e-5, ("unknown", "fp32"), 2, "it", pairs, facts)
    found = Validation(parity=parity)
    assert found.exit_code == 1
    assert report.text(found, 3).splitlines() == [
        "parity  FAILED: 4 Items, each asked 2 times, against it",
        "        1 − cosine at most 1.00e+00, median 5.02e-01".replace("5.02e-01", f"{(1 - 1 / np.sqrt(1.01)) / 2 + 0.5:.2e}"),
        "        allowed for unknown and fp32: 1e-05",
        "        3 beyond the limit, 2 nearer to another Item's vector",
        "        --backend auto took it: it was the faster",
        "note    nothing says the dtype of the server; for bf16 or int8 say --dtype, which allows 0.001",
        f"worst   1 − cosine  kind   {'Item':<40}  nearest other",
        f"      ✗   1.00e+00  text   {'b.jpg#0':<40}  a.jpg (image, 0.00e+00)",
        f"      ✗   1.00e+00  image  {'a.jpg':<40}  b.jpg#0 (text, 0.00e+00)",
        "      ✗   4.96e-03  image  b.jpg",
    ]
    document = json.loads(json.dumps(report.document(found, 1)))["parity"]
    assert (document["passed"], document["strays"], document["beyond"], len(document["failed"])) == (False, 2, 3, 3)
    assert (document["worst"][0]["nearest"], document["backend"]) == ("a.jpg", facts)
    assert (document["worst"][0]["difference"], document["worst"][0]["norms"]) == (1.0, [2.0, 1.0])


def test_a_rejection() -> None:
    found = Validation(server="s", rejected=Rejected("s", ["a.jpg#0"]))
    assert found.exit_code == 1
    assert report.text(found, 1).splitlines()[1:] == [
        "  FAILED  vectors of s that are zero or not finite: 1",
        "    a.jpg#0",
        "        nothing was ranked, compared or saved",
    ]
