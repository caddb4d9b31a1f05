"""The examination of one target: who it is, then the probes from the top, each only where it does no harm."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np

from clipload.dialects import DIALECTS, Vectors
from clipload.plan import Plan
from clipload.preflight import needs
from clipload.preflight.asking import Ask, Conversation, Reply
from clipload.preflight.fitness import Line, Outcome
from clipload.preflight.fits import OWN, advice, foreign, own
from clipload.preflight.identity import BARE, MODEL_INFO, MODELS, OPENAPI, SERVER_INFO, VERSION, Identity
from clipload.preflight.judgements import sane
from clipload.preflight.known import KNOWN, Known, dies_of_pairs
from clipload.preflight.probes import OTHERS, PROBES, Probe
from clipload.target import HINTS

LOADS = ("/v1/loads", "/get_load")
UNIT = 0.01  # how far from 1 the length of a unit vector may be, in half precision too
APART_S, QUIET, LOOKS = 0.2, 5, 8  # a server is called idle that was quiet for a second
ASKED = {ask.api for _, ask in OTHERS}
_BUSY = "the server is busy, or does not show that it is idle"


async def documents(talk: Conversation) -> dict[str, Any]:
    """What the target tells of itself: SGLang's new names first, the old ones where those are missing, others' last."""
    found = await talk.documents((MODELS,))
    found = found or await talk.documents((BARE,))
    for names in (MODEL_INFO, SERVER_INFO):
        for name in names:
            if not any(other in found for other in names):
                found |= await talk.documents((name,))
    if not any(name in found for name in SERVER_INFO):
        found |= await talk.documents((VERSION, OPENAPI))
    return found


async def readiness(talk: Conversation, *, told: bool) -> Line:
    """From /ready where it is, else from what the target `told`: SGLang's /health takes a second and runs a request."""
    status, body = await talk.get("/ready")
    if status == 200:
        return Line("ready", "ok", "/ready answered 200")
    if status == 0:
        return Line("ready", "unfit", f"no answer over HTTP: {body.decode(errors='replace')}", "is this an HTTP server?")
    if status == 503:
        return Line("ready", "unfit", "/ready answered 503: it is starting or shutting down", "try again when it answers 200")
    if told:
        return Line("ready", "ok", "it tells of itself; it has no /ready")
    health, _ = await talk.get("/health")
    outcome: Outcome = "ok" if health == 200 else "note"
    return Line("ready", outcome, f"/health answered {health or 'nothing'}; it has no /ready and does not tell of itself")


async def idle(talk: Conversation) -> bool:
    """Whether SGLang shows that nobody else is served: for QUIET looks in a row nothing runs or waits, and no tokens are
    computed meanwhile. Its counter may still be taking in our own last request, so it has LOOKS to fall silent."""
    before, quiet = await _load(talk), 0
    for _ in range(LOOKS if before is not None else 0):
        await asyncio.sleep(APART_S)
        after = await _load(talk)
        quiet = quiet + 1 if show_idle(before, after) else 0
        if quiet == QUIET:
            return True
        before = after
    return False


async def _load(talk: Conversation) -> Any:
    for name in LOADS:
        found = await talk.document(name)
        if found is not None:
            return found
    return None


def show_idle(before: Any, after: Any) -> bool:
    """False also when they do not tell. `/v1/loads` holds a counter of tokens, the older `/get_load` only levels."""
    try:
        rows = [reading["loads"] if isinstance(reading, dict) else reading for reading in (before, after)]
        busy = [row.get("num_reqs", row.get("num_running_reqs")) + row["num_waiting_reqs"] for each in rows for row in each]
        tokens = [[row.get("total_prefill_uncached_tokens") for row in each] for each in rows]
    except (TypeError, KeyError, AttributeError):
        return False
    return bool(busy) and not any(busy) and tokens[0] == tokens[1]


class Examination:
    """Of a target that is ready. `lines()` is the checklist."""

    def __init__(self, plan: Plan, talk: Conversation, who: Identity) -> None:
        self._plan, self._talk, self._who = plan, talk, who
        self._failed: set[Ask] = set()
        self._unmet = False  # something that the Plan needs has failed
        self._wrongs: set[str] = set()
        self._dead = False
        self._seen_busy: bool | None = None

    async def lines(self) -> list[Line]:
        found = []
        for probe in PROBES:
            line = await self._line(probe)
            if line is not None:
                found.append(line)
        found += [_warning(known) for known in KNOWN if self._concerns(known) and self._unsettled(known, found)]
        return found if self._dead else [await self._spoken(), *found]

    async def _line(self, probe: Probe) -> Line | None:
        """None: it does not concern this Plan."""
        needed = probe.needed(self._plan)
        if not needed and not probe.aside:
            return None
        closed = await self._closed(probe, needed=needed)
        if closed:
            return Line(probe.name, "not probed", closed)
        replies = []
        for ask in probe.asks:
            replies.append(await self._talk.reply(ask))
            if replies[-1].fault:
                self._failed.add(ask)
                return await self._faulty(probe, replies[-1], needed=needed)
        fault = (sane(replies) if probe.judge is not sane else "") or probe.judge(replies)
        if fault:
            return self._wrong(probe, fault, needed=needed)
        return Line(probe.name, "ok", probe.right.format(vector=described(replies[0].vectors[0])))

    async def _closed(self, probe: Probe, *, needed: bool) -> str:
        """Why a probe is not sent; "" when it may be."""
        if self._dead:
            return "the server is gone"
        if self._failed.intersection(probe.asks):
            return "one of its requests has failed already"
        if probe.rests_on in self._wrongs:
            return f"it says nothing after {probe.rests_on!r}"
        if probe.has_image and foreign(self._who.name, self._plan):
            return f"--api {self._plan.api} is not {self._who.name}'s"
        if probe.has_image and self._plan.api == "openai":
            return "--api openai has no images"
        if probe.together and probe.has_image and dies_of_pairs(self._who) and len({type(i) for i in probe.asks[-1].items}) > 1:
            return f"{self._who.name} is known to die of it"
        strange = any(self._is_strange(ask) for ask in probe.asks)
        return _BUSY if (probe.together or strange or not needed) and await self._busy() else ""

    def _is_strange(self, ask: Ask) -> bool:
        """Whether it holds what the load does not send: with what others send, it may make a batch that kills."""
        return not (needs.images if ask.has_image else needs.texts)(self._plan)

    async def _busy(self) -> bool:
        """Whether a server that batches requests does not show that it is idle. It is watched once."""
        if self._seen_busy is None:
            self._seen_busy = self._who.batches_requests and not await idle(self._talk)
        return self._seen_busy

    async def _faulty(self, probe: Probe, reply: Reply, *, needed: bool) -> Line:
        """No vectors came."""
        self._unmet = self._unmet or needed
        if reply.broke and not await self._talk.alive():
            self._dead = True
            remedy = "start it again, and send it nothing of that kind"
            return Line(probe.name, "unfit", f"the server died of it: {reply.fault}", remedy)
        return self._judged(probe, reply.fault, HINTS.get(reply.status, ""), needed=needed)

    def _wrong(self, probe: Probe, fault: str, *, needed: bool) -> Line:
        """Vectors came, and not the right ones."""
        self._wrongs.add(probe.name)
        return self._judged(probe, f"{probe.wrong}: {fault}", probe.remedy, needed=needed)

    def _judged(self, probe: Probe, fault: str, remedy: str, *, needed: bool) -> Line:
        """The reason, and what is known of it; a note where the Plan does not need it."""
        causes = [known for known in KNOWN if known.settles == probe.name and self._concerns(known)]
        sentence = "; ".join([fault, *(known.what for known in causes)])
        remedy = " | ".join(dict.fromkeys(known.remedy for known in causes)) or remedy
        if needed:
            return Line(probe.name, "unfit", sentence, remedy)
        return Line(probe.name, "note", f"{sentence}; --mode {self._plan.mode} does not need it", remedy)

    def _concerns(self, known: Known) -> bool:
        return known.concerns(self._who, self._plan.api)

    def _unsettled(self, known: Known, found: Sequence[Line]) -> bool:
        """Whether the Plan is concerned and no probe has said how it is."""
        settled = {line.name for line in found if line.outcome in ("ok", "unfit", "note")}
        return known.need(self._plan) and known.settles not in settled

    async def _spoken(self) -> Line:
        """The dialects and encodings in which it takes a text, and the one that is its own, if it is known by name."""
        if foreign(self._who.name, self._plan):
            sentence = f"--api {self._plan.api} is not {self._who.name}'s: images would be read as texts, or refused"
            return Line("speaks", "unfit", sentence, advice(self._who.name, self._plan))
        if self._plan.mode == "image" and await self._busy():
            return Line("speaks", "not probed", _BUSY)
        understood = []
        for name, ask in OTHERS:
            reply = await self._talk.reply(ask)
            encoding = "base64" if name.endswith("base64") else "float"
            if not reply.fault and not sane([reply]) and reply.encoding == encoding:
                understood.append(name)
        apis = [api for api in DIALECTS if api in understood]
        sentence = f"texts as {', '.join(understood)}" if understood else "a text in no dialect that clipload speaks"
        sentence += own(self._who.name)
        if not self._unmet and (self._plan.api in apis or self._plan.api not in ASKED):
            return Line("speaks", "ok", sentence)
        if self._plan.mode == "image" and not understood and self._who.name not in OWN:
            return Line("speaks", "note", sentence)
        fits = advice(self._who.name, self._plan) or (f"use --api {apis[-1]} --mode text" if apis else HINTS[404])
        return Line("speaks", "note", sentence, fits)


def described(vector: Vectors) -> str:
    """Its numbers, and its length: SGLang's texts have not that of a unit vector, so a dot product ranks them wrongly."""
    norm = float(np.linalg.norm(vector))
    length = "of unit length" if abs(norm - 1) < UNIT else f"of length {norm:.3g}, not 1: divide by it before you compare"
    return f"{len(vector)} numbers, {length}"


def _warning(known: Known) -> Line:
    return Line(known.name, "warning", known.what, known.remedy)
