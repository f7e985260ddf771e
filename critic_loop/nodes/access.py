"""How a role calls the model behind its slot; every call is recorded at the role's place.

Implements `core.roles.ModelAccess`. Knows places. Does not know roles.
"""

from __future__ import annotations

from typing import Any

from critic_loop.core.errors import OutputError
from critic_loop.core.messages import user
from critic_loop.core.protocols import Completion, Request
from critic_loop.core.records import Place, Sampling
from critic_loop.core.roles import seed_of
from critic_loop.nodes.caller import Caller
from critic_loop.outputs import output_of


class SlotAccess:
    """Asks one slot about one subject, on behalf of one agent."""

    def __init__(
        self, caller: Caller, subject: tuple[str, ...], agent: str, slot: str, seed: int, sampling: Sampling
    ) -> None:
        """Fix the place at which all calls are recorded.

        Args:
            caller: sends and records calls.
            subject: an attempt, or several in order.
            agent: its name in records.
            slot: the slot whose model is called.
            seed: what the seeds of `ask` are derived from.
            sampling: overrides that of `ask`; a seed in it is used as it is.
        """
        self._caller, self._subject, self._agent, self._slot = caller, subject, agent, slot
        self._seed, self._sampling = seed, sampling
        self._calls: list[str] = []
        self._turns = 0

    @property
    def calls(self) -> tuple[str, ...]:
        """Ids of the calls that were answered so far, in order."""
        return tuple(self._calls)

    async def complete(
        self, request: Request, *, template: str = "", turn: int | None = None
    ) -> tuple[str, Completion]:
        """Return the id of the call that answered `request`, and the answer; see `ModelAccess.complete`."""
        place = Place(subject=self._subject, agent=self._agent, turn=self._turn() if turn is None else turn)
        call, completion = await self._caller.complete(place, self._slot, request, template=template)
        self._calls.append(call)
        return call, completion

    async def ask(self, prompt: str, output: Any) -> Any:
        """Return the parsed answer to one prompt.

        Raises:
            OutputError: the reply does not fit `output`.
            ModelError: the call failed.
        """
        wanted, turn = output_of(output), self._turn()

        def accept(completion: Completion) -> str:
            parsed = wanted.parse(completion.choices[0].message)
            return "" if parsed.found or parsed.status == "refused" else parsed.reason or "it cannot be read"

        seed = seed_of(self._seed, turn) if self._sampling.seed is None else self._sampling.seed
        sampling = self._sampling.model_copy(update={"seed": seed})
        request = Request(messages=(user(prompt),), output=wanted.schema, sampling=sampling, accept=accept)
        _, completion = await self.complete(request, turn=turn)
        parsed = wanted.parse(completion.choices[0].message)
        if not parsed.found:
            raise OutputError(f"the reply to {prompt[:40]!r} does not fit {wanted.name}: {parsed.reason}")
        return parsed.value

    def named(self, agent: str, slot: str) -> SlotAccess:
        """Return the access of another agent to the same subject."""
        return SlotAccess(self._caller, self._subject, agent, slot, self._seed, self._sampling)

    def _turn(self) -> int:
        self._turns += 1
        return self._turns - 1
