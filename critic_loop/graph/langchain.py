"""LangChain chat models as models: by `langchain:package.module:factory`, or passed as objects.

Knows what a chat model is. Does not know messages (`graph.chat_models`). Importing LangChain takes longer than
importing Critic Loop. If nothing else has imported it, no object can be a chat model, and it is not imported.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TypeGuard, TypeVar

from critic_loop.core import plugins
from critic_loop.core.errors import ConfigError

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from critic_loop.graph.chat_models import LangChainModel

T = TypeVar("T")
_HOME = "langchain_core.language_models.chat_models"
"""The module that defines `BaseChatModel`."""


def from_factory(path: str) -> LangChainModel:
    """Return the model that `langchain:PATH` names: a chat model, or a function that makes one.

    Raises:
        ConfigError: there is none at `package.module:name`.
    """
    found = plugins.load(path)
    made = found if _is_chat_model(found) or not callable(found) else found()
    if not _is_chat_model(made):
        raise ConfigError(
            f"'langchain:{path}' made {type(made).__name__}, which is not a chat model.",
            hint="Name a function that returns a BaseChatModel.",
        )
    return _wrapped(made, spec=f"langchain:{path}")


def adapted(thing: T) -> T | LangChainModel:
    """Return a chat model as a `Model`, and anything else as it is."""
    return _wrapped(thing) if _is_chat_model(thing) else thing


def _is_chat_model(thing: object) -> TypeGuard[BaseChatModel]:
    kind = getattr(sys.modules.get(_HOME), "BaseChatModel", None)
    return kind is not None and isinstance(thing, kind)


def _wrapped(chat: BaseChatModel, *, spec: str = "") -> LangChainModel:
    from critic_loop.graph.chat_models import LangChainModel

    return LangChainModel(chat, spec=spec)
