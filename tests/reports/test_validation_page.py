"""The page of a validation: the verdict first, the worst pairs in figures, nothing of the dataset taken for markup."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("altair", reason="the extra `report` is not installed")
pytest.importorskip("jinja2", reason="the extra `report` is not installed")

from clipload.reports import page as module
from clipload.reports.pairs import MOST, WORDS, worst_pairs
from clipload.reports.plots.vector_map import map_sentence
from clipload.reports.validation_page import validation_page
from clipload.sources.listing import Named
from clipload.validation import Rejected, Validation, mapping
from clipload.validation.mapping import Gap, vector_map
from clipload.values import Text
from tests.reports.test_page import EVIL, Seen
from tests.reports.validations import REMOTE, clip_like, faulty, items_of, parity_of, validation


@pytest.fixture(scope="module", autouse=True)
def _no_vega() -> Any:
    """Vega itself takes seconds to bundle; the tests in a browser have it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module.vl_convert, "javascript_bundle", lambda snippet: f"/* vega */ {snippet}")
        yield


def page_of(found: Validation, worst: int = 12) -> str:
    return validation_page(found, worst, 42, 0.0)


def specs_of(text: str) -> Any:
    found = re.search(r'id="specs">(.*?)</script>', text)
    assert found is not None
    return json.loads(found[1])


def test_what_stands_on_it_and_that_nothing_is_fetched() -> None:
    text = page_of(validation())
    seen = Seen(text)
    words = (
        "Failed: 6 of 100 Items",
        "1970-01-01",
        "beyond the limit",
        "Worst pairs",
        "Map of the vectors",
        "asks the server again",
    )
    places = [seen.words.index(word) for word in words]
    assert places == sorted(places)
    assert "--backend auto took it: 1.31 times as fast as torch here." in seen.words
    sources = [one["src"] or "" for tag, one in seen.tags if tag == "img"]
    assert [one.partition(",")[0] for one in sources] == ["data:image/jpeg;base64"] * 4
    names = {name for _, attributes in seen.tags for name in attributes}
    assert names & {"href", "srcset", "action", "data"} == set()
    assert list(specs_of(text)) == ["map"]
    assert "<main>" in text, "what failed is not to be doubted"


def test_what_passed() -> None:
    items = items_of(6, 4)
    reference = clip_like([item.kind for item in items])
    found = Validation(server="s", parity=parity_of(items, faulty(reference, (), (0, 0)), reference))
    text = page_of(found)
    assert 'class="verdict sound"' in text
    assert "Passed: all 10 Items have the same vector on both sides, within the limit." in text
    assert "The other side&#39;s vectors fall upon the server&#39;s: one point stands for both." in text
    assert "class=wrong" not in text


def test_vectors_that_are_none_are_named_and_nothing_is_drawn() -> None:
    text = page_of(Validation(server="s", rejected=Rejected("s", [f"{i}.jpg" for i in range(9)])))
    assert "4.jpg and 4 more. Nothing was compared." in text
    assert "There is nothing to draw: a vector that is zero or not finite has no direction." in text
    assert specs_of(text) == {}


def test_the_pairs_are_the_worst_with_their_figures() -> None:
    found = validation()
    assert found.parity is not None
    shown = worst_pairs(found.parity, 7).shown
    assert [one.wrong for one in shown] == [True] * 6 + [False]
    assert {(one.name, one.stray) for one in shown[:2]} == {
        ("1.jpg#0", "nearer to 1.jpg (image)"),
        ("1.jpg", "nearer to 1.jpg#0 (text)"),
    }
    pairs, row = found.parity.pairs, next(row for row, name in enumerate(found.parity.names) if name == shown[2].name)
    ours, theirs = (of[row].astype(np.float64) for of in (pairs.found, pairs.reference))
    lengths = np.linalg.norm(ours), np.linalg.norm(theirs)
    told = {name: float(value.replace("−", "-")) for name, value in shown[2].figures}
    cosine = float(ours @ theirs / lengths[0] / lengths[1])
    assert told["cosine"] == pytest.approx(cosine, abs=1e-6)
    assert told["1 − cosine"] == pytest.approx(1 - cosine, rel=1e-2)
    assert told["difference"] == pytest.approx(np.abs(ours / lengths[0] - theirs / lengths[1]).max(), rel=1e-2)
    assert (told["norm, server's"], told["norm, other side's"]) == pytest.approx(lengths, rel=1e-4)


def test_their_number_and_their_words_are_bounded() -> None:
    found = validation(60, 40, ("long#0", Text("ab" * WORDS)))
    assert found.parity is not None
    shown = worst_pairs(found.parity, 1000).shown
    assert len(shown) == MOST
    (long,) = [one.words for one in shown if one.name == "long#0"]
    assert (len(long), long[-3:]) == (WORDS, "ba…"[-3:])


def test_a_picture_that_is_gone_or_was_never_here_is_said_to_be_so(tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff")
    items = [*items_of(2, 1), Named("gone", 0, "image", tmp_path / "gone.jpg"), Named("broken", 0, "image", broken)]
    items += [Named(REMOTE[0], 0, "image", REMOTE[1])]
    reference = clip_like([item.kind for item in items])
    shown = {one.name: one for one in worst_pairs(parity_of(items, reference, reference), 9).shown}
    assert shown["gone"].words == "(cannot be read any more: No such file or directory)"
    assert shown["broken"].words.startswith("(cannot be read any more: ")
    assert shown["far.jpg"].words == "(a picture that the server opens: http://h/far.jpg)"
    assert {name for name, one in shown.items() if one.thumbnail} == {"0.jpg"}


def test_nothing_of_the_dataset_or_the_server_is_markup() -> None:
    found = validation(9, 6, (EVIL, Text(EVIL)))
    assert found.parity is not None
    found.server, found.notes = EVIL, [EVIL]
    found.parity.facts["chosen"]["why"] = EVIL
    text = page_of(found)
    assert EVIL not in text
    assert text.count("<script") == text.count("</script>") == 3
    assert Seen(text).words.count(EVIL) >= 5, "and is shown all the same"
    assert [one for tag, one in Seen(text).tags if "onerror" in one] == []
    assert any(EVIL in json.dumps(rows, ensure_ascii=False) for rows in specs_of(text)["map"]["datasets"].values())


def test_what_is_said_of_the_map(monkeypatch: pytest.MonkeyPatch) -> None:
    found = validation(60, 40)
    assert found.parity is not None
    drawn = vector_map(found.parity.pairs, 42)
    said = map_sentence(found.parity, drawn, 42)
    first, second = (f"{100 * share:.3g} %" for share in drawn.shares)
    assert said.startswith("All 100 Items as directions,")
    assert f"they hold {first} and {second} of the variance" in said
    assert "of the 6 Items where the two can be told apart" in said
    assert "Texts and images lie apart, which is CLIP's modality gap: a text and an image have cosine " in said
    monkeypatch.setattr(mapping, "MOST", 10)
    few = vector_map(found.parity.pairs, 7, [0, 1])
    assert map_sentence(found.parity, few, 7).startswith(f"{len(few.rows)} of 100 Items, drawn with seed 7 beside the worst,")
    together = mapping.VectorMap(drawn.rows, drawn.found, drawn.reference, drawn.shares, Gap(0.5, 0.4, 0.45))
    assert "do not lie apart, as those of a trained CLIP do" in map_sentence(found.parity, together, 42)


def test_the_page_is_a_function_of_what_was_found() -> None:
    assert page_of(validation()) == page_of(validation())


def test_one_kind_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for texts, images in ((5, 0), (0, 5)):
        items = items_of(texts, images)
        reference = clip_like([item.kind for item in items])
        text = page_of(Validation(server="s", parity=parity_of(items, faulty(reference, (2,), (0, 1)), reference)))
        assert "modality gap" not in text
        (encoding,) = {
            json.dumps(layer["encoding"]["shape"]["scale"])
            for layer in specs_of(text)["map"]["layer"]
            if "shape" in layer["encoding"]
        }
        assert json.loads(encoding) == (
            {"domain": ["text"], "range": ["circle"]} if texts else {"domain": ["image"], "range": ["square"]}
        )
