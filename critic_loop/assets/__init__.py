"""Finds, validates, hashes and renders agent specs, recipes and prompts."""

from critic_loop.assets.library import Library, bundled
from critic_loop.assets.recipe import (
    ActorUse,
    AgentSpec,
    CriticUse,
    DebateUse,
    Escalation,
    Recipe,
    SearchUse,
    SelectUse,
)
from critic_loop.assets.template import Data, Template, Word, fence, word

__all__ = [
    "ActorUse",
    "AgentSpec",
    "CriticUse",
    "Data",
    "DebateUse",
    "Escalation",
    "Library",
    "Recipe",
    "SearchUse",
    "SelectUse",
    "Template",
    "Word",
    "bundled",
    "fence",
    "word",
]
