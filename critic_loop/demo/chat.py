"""A conversation as the small model's prompt: its chat template, and nothing else.

Knows where the template lies and how it is rendered. Which words of a conversation decide the role, the
puzzle, the answer to judge and the answers that were rejected is written in the template itself,
`weights/chat_template.jinja`: servers that load the model from a Hugging Face folder (`layout`) use the
same one, so they read the same prompts. It writes what `chars` would write of the same material.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import NoReturn

import jinja2

from critic_loop.core.errors import ModelError
from critic_loop.core.messages import Message


def chat_template() -> str:
    """Returns the text of the template, as transformers and vLLM take it."""
    return (files("critic_loop.demo") / "weights" / "chat_template.jinja").read_text(encoding="utf-8")


def chat_prompt(messages: Sequence[Message], *, continues: bool = False) -> str:
    """Returns the prompt for the model's next turn.

    Args:
        messages: the conversation.
        continues: whether the last message is a beginning to be gone on with.

    Raises:
        ModelError: no user message holds a puzzle.
    """
    spoken = [{"role": message.role, "content": message.text} for message in messages]
    return _compiled().render(messages=spoken, add_generation_prompt=not continues)


@cache
def _compiled() -> jinja2.Template:
    """Compiles the template under the settings of transformers.

    Not in a sandbox as there: the template is the package's own, and what others wrote is only data to it.
    """
    environment = jinja2.Environment(
        autoescape=False,  # noqa: S701  # prompts are not HTML
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.from_string(chat_template(), globals={"raise_exception": _refuse})


def _refuse(reason: str) -> NoReturn:
    """Is what the template calls when it cannot write a prompt; `reason` is worded for servers."""
    raise ModelError(
        "embedded:countdown plays Countdown only, and no user message holds a puzzle.",
        hint="Send one like 'Countdown 24: 3 5 7 8' (3 to 6 numbers).",
    ) from ValueError(reason)
