"""Tables of a Run and of several, as words in cells: for the page and for Markdown alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from clipload.agreement import agreement_in
from clipload.archive import PERCENTILES
from clipload.bottleneck import limit_of, limits
from clipload.estimate import Estimate
from clipload.payload import payload
from clipload.reports.canary import HEAD as CANARY_HEAD
from clipload.reports.canary import canary_rows, canary_sentence
from clipload.reports.integrity import HEAD, integrity_rows, sentences
from clipload.reports.payload import payload_rows
from clipload.reports.percentiles import LEVEL_SAID, Figure, believed_said, time_said
from clipload.reports.points import flaw, labels, offered
from clipload.reports.text import describe_images
from clipload.run import Run
from clipload.spread import QUANTILES, estimates
from clipload.tally import HISTOGRAMS
from clipload.units import format_bytes, format_cores, format_ns
from clipload.verdict import judge

_SLOW = 1.5  # × the median worker's p99: an outlier
_BELOW = f"With each percentile its {LEVEL_SAID} interval; one that rests on too few requests is pale."
_LEAST = 100  # requests of a worker, below which its p99 says nothing


@dataclass(frozen=True, slots=True)
class Table:
    """`rows` of cells as text, as long as `head`; a percentile is a Figure. `grey`: rows that do not count."""

    name: str
    title: str
    sentence: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    grey: frozenset[int] = frozenset()

    @property
    def first(self) -> bool:
        """Before the pictures of a page."""
        return self.name in ("runs", "answers", "together")


def tables_of(run: Run) -> list[Table]:
    """Those that have something to say of this Run."""
    found = [times(run), ledger(run), canary(run), integrity(run), targets(run), payload_table(run), seen(run)]
    found += [workers(run), health(run), said(run)]
    return [table for table in found if table.rows]


def times(run: Run) -> Table:
    """A row for each histogram that holds something, and what it holds."""
    rows = []
    for name, meaning in HISTOGRAMS.items():
        histogram = run.measure.histogram(name)
        if histogram.total and (histogram.max or name != "server_queue"):  # SGLang may print 0 whatever the queue
            figures = [Figure.of(run.figures.quantiles[name], label) for label in PERCENTILES]
            rows.append((name.replace("_", " "), *figures, time_said(histogram.max), f"{histogram.total}", meaning))
    loop = "" if run.plan.open_loop else " A closed loop's times are not to be set beside an open loop's."
    sentence = f"Of the measured phase. {_BELOW}{loop}"
    return Table("times", "Times", sentence, ("", *PERCENTILES, "max", "requests", "what it is"), tuple(rows))


def ledger(run: Run) -> Table:
    """Where every planned request went."""
    book = run.measure.ledger()
    fates = [("ok", book.ok), *book.errors.items(), ("timeout", book.timeout), ("censored", book.censored)]
    rest = [("unsent", book.unsent), ("lost with a worker", book.lost), ("not due any more", book.not_due)]
    rows = [(name, f"{count}", _share(count, book.planned)) for name, count in fates + rest if count or name == "ok"]
    sentence = f"{book.planned} requests were planned, {book.scheduled} became due, {book.ok} came back ok. The ledger closes."
    return Table("ledger", "Ledger", sentence, ("fate", "requests", "share"), tuple(rows))


def _share(count: int, total: int) -> str:
    return f"{100 * count / total:.3g} %" if total else "–"


def canary(run: Run) -> Table:
    """What a stream of its own noticed of the load."""
    beside = run.canary
    if beside is None:
        return Table("canary", "Canary", "", CANARY_HEAD, ())
    sentence = f"{canary_sentence(run, beside)}. Its requests are in no figure of the load's. {_BELOW}"
    return Table("canary", "Canary", sentence[:1].upper() + sentence[1:], CANARY_HEAD, tuple(canary_rows(beside)))


def targets(run: Run) -> Table:
    rows = []
    for number, target in enumerate(run.targets):
        own = run.own.of_target(number, "latency")
        rate = f"{target.requests_per_s * run.plan.batch_size:.2f}"
        figures = (Figure.of(own, "p50"), Figure.of(own, "p99"))
        rows.append((target.url, f"{target.tally['ok']}", f"{target.tally.not_ok}", rate, *figures))
    head = ("target", "ok", "not ok", "samples/s", "p50", "p99")
    return Table("targets", "Targets", f"The load went to {len(rows)} base URLs in turn. {_BELOW}", head, tuple(rows))


def payload_table(run: Run) -> Table:
    """What a request costs; of a Run whose payload nobody weighed there is none."""
    found = payload(run) if "payload" in run.facts else None
    rows = () if found is None else tuple(payload_rows(found))
    return Table("payload", "Payload", "Bytes of HTTP; what TCP, IP and TLS add is not in them.", ("", "found"), rows)


def seen(run: Run) -> Table:
    """What was seen of the targets, and what limits them."""
    limit, rows = limit_of(run), []
    for one in limits(run):
        url = run.plan.base_url[one.target]
        rows += [(url, p.role, f"{p.pid}", f"{100 * p.share:.0f} %", f"{100 * p.peak:.0f} %") for p in one.sight.processes]
    claimed = limit is not None and judge(run).generator != "unsound"
    sentence = f"{limit.sentence[:1].upper()}{limit.sentence[1:]}." if limit is not None and claimed else ""
    head = ("target", "process", "pid", "of a core", "in its busiest second")
    rows = rows or ([(sentence, "–", "–", "–", "–")] if sentence else [])
    return Table("limit", "What limits the target", sentence, head, tuple(rows))


def workers(run: Run) -> Table:
    """Percentiles of each; they are not to be averaged. A worker whose p99 is far above the others' is marked."""
    p99s = {
        number: account.phases["measure"].histogram("latency").quantile(0.99)
        for number, account in run.workers.items()
        if account.phases["measure"]["ok"] >= _LEAST
    }
    slow = [number for number, p99 in p99s.items() if len(p99s) > 1 and p99 > _SLOW * median(p99s.values())]
    cores = run.facts.get("placement", {}).get("workers", [])
    rows = []
    for number, account in run.workers.items():
        tally, load = account.phases["measure"], run.load(number)
        latency, lag = (run.own.of_worker(number, name) for name in ("latency", "lag"))
        figures = (Figure.of(latency, "p50"), Figure.of(latency, "p99"), Figure.of(lag, "p99"))
        core = f"{cores[number]}" if number < len(cores) else "–"
        busy = f"{load.cpu_ns / 1e7 / load.seconds:.0f} %" if load.seconds else "–"
        starved = f"{100 * load.starved:.2g} %" if load.seconds else "–"
        mark = " (slower than the others)" if number in slow else ""
        rows.append((f"{number}{mark}", core, f"{tally['ok']}", *figures, busy, starved))
    sentence = f"Worker {', '.join(map(str, slow))} is an outlier." if slow else _together(p99s)
    sentence = f"{sentence} {_BELOW}".lstrip()
    head = ("worker", "core", "ok", "p50", "p99", "p99 of lag", "busy", "waited for the core")
    return Table("workers", "Workers", sentence, head, tuple(rows))


def _together(p99s: dict[int, int]) -> str:
    if len(p99s) < 2:
        return "One worker sent the load." if len(p99s) == 1 else ""
    return f"The workers agree: their p99 lies between {format_ns(min(p99s.values()))} and {format_ns(max(p99s.values()))}."


def health(run: Run) -> Table:
    """The generator's own condition: what could have made its figures its own."""
    tally, (met, refused) = run.measure, run.lacked()
    rows: list[tuple[str, str, str]] = []
    latency, unlagged = tally.histogram("latency"), tally.histogram("unlagged")
    if latency.total:
        with_lag, without = latency.quantile(0.99), unlagged.quantile(0.99)
        shift = (with_lag - without) / max(1, without)
        found = Figure.saying(f"{format_ns(without)} ({100 * shift:+.1f} % with it)", run.figures.quantiles["unlagged"]["p99"])
        rows.append(("p99 without the generator's lag", found, "degraded from 5 %, unsound from 20 %"))
    loads = [run.load(number) for number in run.workers]
    if any(load.seconds for load in loads):
        rows.append(("busiest worker's core", f"{100 * max(load.busy for load in loads):.0f} %", "at its ceiling from 90 %"))
        rows.append(
            ("waiting for a core, the worst worker", f"{100 * max(load.starved for load in loads):.2f} %", "degraded from 5 %")
        )
    rows += [
        ("demands that met the limit of connections", f"{met}", "matters when the limit is this host's"),
        ("connections refused by this host", f"{refused}", "for want of a port or descriptor"),
        ("stale keep-alive connections, sent again", f"{tally['retried']}", "counted, no error"),
        ("garbage collection", format_ns(sum(account.gc_ns for account in run.workers.values())), "all workers, whole run"),
        (
            "memory of the largest worker",
            format_bytes(max((account.rss for account in run.workers.values()), default=0)),
            "resident",
        ),
    ]
    rows += _host(run)
    return Table("health", "Health of the generator", _healthy(run), ("", "found", "what it means"), tuple(rows))


def _host(run: Run) -> list[tuple[str, str, str]]:
    facts, where = run.facts, run.facts.get("placement")
    rows = []
    if where:
        shared = (
            "shared with the supervisor" if where["shared"] else f"the supervisor on {format_cores(tuple(where['supervisor']))}"
        )
        rows.append(("workers' cores", format_cores(tuple(where["workers"])), shared))
    if "images" in facts:
        rows.append(("images", describe_images(facts["images"]), "those that travel apart from their requests"))
    if facts.get("skipped"):
        rows.append(("left out of the dataset", f"{len(facts['skipped'])}", f"first: {facts['skipped'][0]}"))
    return rows


def _healthy(run: Run) -> str:
    words = {
        "sound": "The generator was sound: the figures are the target's.",
        "degraded": "The generator was degraded: read the figures with its findings in mind.",
        "unsound": "The generator was unsound: the figures are its own, and nothing is said of the target.",
    }
    return words[judge(run).generator]


def integrity(run: Run) -> Table:
    """Of a sample of the replies, those whose vectors were not what the Items had alone, by the load that they met."""
    found = agreement_in(run.facts)
    told = "" if found is None else " ".join(f"{line[:1].upper()}{line[1:]}." for line in sentences(found))
    rows = () if found is None else tuple(integrity_rows(found))
    return Table("integrity", "Integrity under load", told, HEAD, rows)


def said(run: Run) -> Table:
    """What the first error of each class said."""
    rows = tuple((name, f"{run.measure.errors.get(name, 0)}", run.examples[name]) for name in sorted(run.examples))
    return Table("said", "What errors said", "The first of each class.", ("class", "measured", "first"), rows)


# of several


def runs_table(runs: Sequence[Run], names: Sequence[str]) -> Table:
    """One row a Run, in the order given; figures with their intervals. Runs that do not count are grey and say why."""
    rows, grey = [], set()
    for place, (label, run) in enumerate(zip(labels(runs, names), runs)):
        figures, why = estimates(run), flaw(run)
        if why:
            grey.add(place)
        rows.append(
            (
                label,
                _load(run),
                f"{run.throughput:.2f}",
                *(_known(figures.get(name)) for name in QUANTILES),
                f"{run.measure.not_ok}",
                why or judge(run).generator,
            )
        )
    head = ("run", "load", "samples/s", *QUANTILES, "not ok", "generator")
    sentence = (
        f"{len(runs)} Runs; percentiles of all requests, those that were not ok infinitely slow, with {LEVEL_SAID} intervals."
    )
    if len({run.plan.open_loop for run in runs}) > 1:
        sentence += " Closed and open loops stand side by side here: their latencies are not to be compared."
    return Table("runs", "Runs", sentence, head, tuple(rows), grey=frozenset(grey))


def _known(estimate: Estimate | None) -> str:
    if estimate is None:
        return "–"
    return Figure.saying(format_ns(estimate.value), estimate, below=believed_said(estimate))


def _load(run: Run) -> str:
    if run.plan.open_loop:
        return f"open, {offered(run):.4g} requests/s"
    return f"closed, {run.plan.concurrency} in flight"
