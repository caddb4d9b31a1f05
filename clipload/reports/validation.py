"""What `clipload validate` shows: groups, retrieval, parity with its worst Items, oddities of the dataset; the same as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from clipload.reports.embedding import listed, verification_document, verification_text
from clipload.validation import Parity, Scored, Validation

_NAME = 40  # columns
_FACTS = ("backend", "dtype", "device", "isa", "model", "weights", "versions", "server", "chosen")  # of the other side


def text(found: Validation, worst: int) -> str:
    """`worst`: how many of the Items farthest from their reference."""
    lines = [f"server  {found.server}"] if found.server else []
    for title, sentences in found.oddities.titled:
        lines += listed(title, list(sentences))
    lines += listed("passed over", [str(skip) for skip in found.skipped])
    lines += [f"note    {note}" for note in found.notes]
    if found.groups:
        lines += _groups(found.groups)
    if found.recall is not None:
        lines.append(verification_text(found.recall))
    if found.parity is not None:
        lines += _parity(found.parity, worst)
    if found.rejected is not None:
        lines += listed(f"FAILED  vectors of {found.rejected.whose} that are zero or not finite", found.rejected.names)
        lines.append("        nothing was ranked, compared or saved")
    lines += [f"saved   {path}" for path in (found.dump, found.html) if path is not None]
    return "\n".join(lines)


def _groups(groups: Sequence[Scored]) -> list[str]:
    own = np.concatenate([one.own for one in groups])
    others = np.concatenate([one.distractors for one in groups])
    first, last = groups[0].group, groups[-1].group
    span = f"{first.number} to {last.number}" if len(groups) > 1 else str(first.number)
    lines = [f"groups  {len(groups)} ({span}): {len(own)} captions, {len(others)} distractors"]
    lines.append(
        f"        cosine of an image with its own captions {own.mean():.6f} on average, {own.min():.6f} to {own.max():.6f}"
    )
    if len(others):
        lines.append(f"        with distractors {others.mean():.6f} on average, {others.min():.6f} to {others.max():.6f}")
        lines.append(f"        every caption of its own above every distractor in {sum(one.found for one in groups)} groups")
    return lines


def _parity(parity: Parity, worst: int) -> list[str]:
    compared, failed = parity.compared, parity.failed
    strays = int(compared.strays().sum())
    verdict = "FAILED" if failed else "passed"
    times = f", each asked {parity.repeat} times" if parity.repeat > 1 else ""
    lines = [
        f"parity  {verdict}: {len(parity.names)} Items{times}, against {parity.against}",
        f"        1 − cosine at most {compared.distance.max():.2e}, median {np.median(compared.distance):.2e}",
        f"        allowed for {' and '.join(parity.dtypes)}: {parity.limit:g}",
        f"        {int((compared.distance > parity.limit).sum())} beyond the limit, {strays} nearer to another Item's vector",
    ]
    if chosen := parity.facts.get("chosen"):
        lines.append(f"        --backend {chosen['asked']} took it: {chosen['why']}")
    lines += [f"note    {note}" for note in parity.notes]
    lines.append(f"worst   {'1 − cosine':>10}  {'kind':<5}  {'Item':<{_NAME}}  nearest other")
    for row in parity.worst(worst):
        nearest = int(compared.nearest[row])
        stray = f"{parity.names[nearest]} ({parity.kinds[nearest]}, {compared.between[row]:.2e})" if nearest != row else ""
        mark = "✗" if row in set(failed) else " "
        name = parity.names[row][-_NAME:]
        lines.append(f"      {mark} {compared.distance[row]:>10.2e}  {parity.kinds[row]:<5}  {name:<{_NAME}}  {stray}".rstrip())
    return lines


def document(found: Validation, worst: int) -> dict[str, Any]:
    """`--json`."""
    whole: dict[str, Any] = {"exit_code": found.exit_code, "server": found.server or None, "notes": found.notes}
    whole["oddities"] = asdict(found.oddities)
    whole["skipped"] = [str(skip) for skip in found.skipped]
    whole["groups"] = [_group_document(one) for one in found.groups]
    whole["dump"] = str(found.dump) if found.dump else None
    whole["html"] = str(found.html) if found.html else None
    whole["rejected"] = asdict(found.rejected) if found.rejected else None
    whole["recall"] = verification_document(found.recall) if found.recall else None
    whole["parity"] = _parity_document(found.parity, worst) if found.parity else None
    return whole


def _group_document(one: Scored) -> dict[str, Any]:
    captions = zip(one.group.texts, one.scores.tolist(), [True] * len(one.own) + [False] * len(one.distractors))
    scores = [{"text": text, "score": score, "own": own} for text, score, own in captions]
    return {"number": one.group.number, "image": one.group.name, "found": one.found, "scores": scores}


def _parity_document(parity: Parity, worst: int) -> dict[str, Any]:
    def item(row: int) -> dict[str, Any]:
        nearest = int(parity.compared.nearest[row])
        own = {"name": parity.names[row], "kind": parity.kinds[row], "distance": float(parity.compared.distance[row])}
        pair = parity.pairs.pair(row)
        own |= {"difference": pair.apart, "norms": list(pair.norms)}
        return own | {"nearest": parity.names[nearest], "nearest_kind": parity.kinds[nearest], "stray": nearest != row}

    distance = parity.compared.distance
    return {
        "passed": not parity.failed,
        "against": parity.against,
        "backend": {name: parity.facts[name] for name in _FACTS if name in parity.facts} or None,
        "dtypes": list(parity.dtypes),
        "limit": parity.limit,
        "items": len(parity.names),
        "repeat": parity.repeat,
        "largest": float(distance.max()),
        "median": float(np.median(distance)),
        "beyond": int((distance > parity.limit).sum()),
        "strays": int(parity.compared.strays().sum()),
        "notes": parity.notes,
        "worst": [item(row) for row in parity.worst(worst)],
        "failed": [item(row) for row in parity.failed],
    }
