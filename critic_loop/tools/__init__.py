"""Tools that actors may call: typed Python callables, `Tool` objects and LangChain's tools.

Knows how each becomes a `Tool`. Does not know when a tool is called (`nodes.tool_executor`).
"""

from critic_loop.core.tools import Tool, ToolContext, ToolOutput, spec_of, tool_digest
from critic_loop.tools.accepted import ToolSettings, tool, tools_by_name
from critic_loop.tools.functions import FunctionTool
from critic_loop.tools.langchain import LangChainTool

__all__ = [
    "FunctionTool",
    "LangChainTool",
    "Tool",
    "ToolContext",
    "ToolOutput",
    "ToolSettings",
    "spec_of",
    "tool",
    "tool_digest",
    "tools_by_name",
]
