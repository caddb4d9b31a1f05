"""The accounts that only a supervisor can close: what was planned, what did not become due, what a dead worker lost.

Pure functions of a Run in the making and of the schedule. A living worker's own count of what it scheduled is never
consulted for an open loop: it must agree with the schedule, or the ledger does not close.
"""

from __future__ import annotations

from clipload.pacing import PHASES, Horizon, Pacer, count_due, share
from clipload.run import Run
from clipload.tally import Tally

Accounts = dict[int, dict[str, dict[str, int]]]  # worker -> phase -> count name -> n


def open_accounts(run: Run, pacer: Pacer, horizon: Horizon, dead: frozenset[int], stop_ns: int | None) -> Accounts:
    """Planned from the horizon; not due is what lies after the instant at which the worker's schedule was shortened."""
    accounts: Accounts = {}
    for number, account in run.workers.items():
        planned = horizon.planned[number]
        until_ns = account.stopped_ns or (stop_ns if number in dead else None)
        due = list(planned) if until_ns is None else _due(run, pacer, horizon, number, until_ns)
        if number in dead:  # it may have heard too late that the schedule was shortened, and had no last word to say so
            due = [max(n, account.phases[name]["scheduled"]) for n, name in zip(due, PHASES)]
        phases = accounts[number] = {}
        for p, name in enumerate(PHASES):
            phases[name] = {"planned": planned[p], "not_due": planned[p] - due[p]}
            if number in dead:
                phases[name] |= _lost(account.phases[name], due[p])
    return accounts


def _due(run: Run, pacer: Pacer, horizon: Horizon, worker: int, until_ns: int) -> list[int]:
    plan = run.plan
    return count_due(pacer, plan.seed, plan.workers, horizon.bounds, until_ns - run.start_ns)[worker]


def closed_accounts(run: Run, dead: frozenset[int], *, early: bool) -> Accounts:
    """A closed loop plans what it schedules; a counted one its share, of which only an early end leaves some not due."""
    accounts: Accounts = {}
    for number, account in run.workers.items():
        phases = accounts[number] = {}
        for name in PHASES:
            scheduled = planned = account.phases[name]["scheduled"]
            if run.plan.requests is not None and name == "measure":
                planned = share(run.plan.requests, number, run.plan.workers)
            phases[name] = {"planned": planned, "not_due": planned - scheduled if early else 0}
            if number in dead:
                phases[name] |= _lost(account.phases[name], scheduled)
    return accounts


def _lost(tally: Tally, was_due: int) -> dict[str, int]:
    """What was due and never came home, in whole or in part."""
    ledger = tally.ledger()
    return {"scheduled": was_due - ledger.scheduled, "lost": was_due - ledger.attempted - ledger.unsent}
