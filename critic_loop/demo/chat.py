"""Renders a conversation as a prompt of the small model, with its chat template.

The template, `weights/chat_template.jinja`, finds role, puzzle, answer to judge and rejected answers in the
conversation, and writes the same prompts as `chars`. Servers that load the model from a Hugging Face folder
(`layout`) use the same template, so they get the same prompts.
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
    """Returns the text of the template, in the form of transformers and vLLM."""
    return (files("critic_loop.demo") / "weights" / "chat_template.jinja").read_text(encoding="utf-8")


def chat_prompt(messages: Sequence[Message], *, continues: bool = False) -> str:
    """Returns the prompt for the model's next turn.

    Args:
        messages: the conversation.
        continues: whether the model continues the last message.

    Raises:
        ModelError: no user message has a puzzle.
    """
    turns = [{"role": message.role, "content": message.text} for message in messages]
    return _compiled().render(messages=turns, add_generation_prompt=not continues)


@cache
def _compiled() -> jinja2.Template:
    """Compiles the template with the settings of transformers.

    A sandbox as in transformers is not needed: the template is part of the package, and messages are only data.
    """
    environment = jinja2.Environment(
        autoescape=False,  # noqa: S701  # prompts are not HTML
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.from_string(chat_template(), globals={"raise_exception": _refuse})


def _refuse(reason: str) -> NoReturn:
    """Raises the error for a conversation without a puzzle; the template calls it with a reason for servers."""
    raise ModelError(
        "embedded:countdown can only solve Countdown puzzles, and no user message has one.",
        hint="Send a puzzle such as 'Countdown 24: 3 5 7 8' (3 to 6 numbers).",
    ) from ValueError(reason)
