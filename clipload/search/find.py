"""Find: the highest rate that meets an objective."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from clipload.search.aim import Aim
from clipload.search.answer import Answer, answer
from clipload.search.dialogue import Ask, Told, Value
from clipload.search.step import Step


class Find:
    """`fixed` values go into every Ask. See `dialogue.Search`; `answer` is there once it is done."""

    def __init__(self, aim: Aim, fixed: Mapping[str, Value] | None = None, history: Iterable[Told] = ()) -> None:
        self.aim, self.fixed = aim, dict(fixed or {})
        self._history = tuple(history)
        self._next = Step(aim, self.fixed, self._history)

    def __repr__(self) -> str:
        return f"Find({self.answer})" if self.done else f"Find({len(self._history)} probes told)"

    @property
    def history(self) -> tuple[Told, ...]:
        return self._history

    @property
    def done(self) -> bool:
        return self._next.ask is None

    @property
    def doomed(self) -> str:
        return self.answer.because if self.done and self.answer.outcome == "doomed" else ""

    @property
    def answer(self) -> Answer:
        """What is known; the final word once `done`."""
        step = self._next
        return answer(self.aim, self._history, step.evidence, step.top, step.reason, tuple(step.left_out))

    def ask(self) -> Ask | None:
        return self._next.ask

    def tell(self, told: Told) -> None:
        self._history = (*self._history, told)
        self._next = Step(self.aim, self.fixed, self._history)
