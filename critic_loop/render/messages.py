"""Messages, answers and replies as plain text.

Returns text as it is; the views make it safe to show.
"""

from __future__ import annotations

from pydantic_core import to_json

from critic_loop.core.messages import (
    ContentPart,
    File,
    Image,
    Message,
    Opaque,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
)
from critic_loop.core.records import Attempt, Choice


def answer_text(attempt: Attempt) -> str:
    """Return an attempt's answer as text, typed ones as JSON; where there is none, what was written last."""
    if attempt.answer is None:
        return next((m.text for m in reversed(attempt.messages) if m.role == "assistant" and m.text), "")
    return attempt.answer if isinstance(attempt.answer, str) else to_json(attempt.answer, indent=2).decode()


def reply_text(choice: Choice) -> str:
    """Return one choice of a reply as text; with its log-probability where a given text was scored."""
    said = message_text(choice.message)
    if choice.finish_reason != "scored" or choice.logprobs is None:
        return said
    return f"{said}  [log-probability {sum(choice.logprobs):.3f}]"


def message_text(message: Message) -> str:
    """Return all parts of a message as text; pictures and files are named, not shown."""
    return "\n".join(text for part in message.parts if (text := part_text(part)))


def part_text(part: ContentPart) -> str:
    """Return one part of a message as text."""
    match part:
        case Text():
            return part.text
        case Image() | File():
            name = f" {part.name}" if isinstance(part, File) and part.name else ""
            size = f", {len(part.data):,} bytes" if part.data is not None else ""
            return f"[{part.type}{name}: {part.media_type}{size}, sha256 {part.sha256[:12]}]"
        case ToolCall():
            return f"[calls {part.name}({part.arguments_text or to_json(part.arguments).decode()})]"
        case ToolResult():
            said = "\n".join(part_text(each) for each in part.parts)
            return f"[{part.name or 'tool'} {'fails' if part.is_error else 'answers'}] {said}"
        case Reasoning():
            return f"[thinks] {part.text}"
        case Opaque():
            return f"[a block of {part.provider}]"
