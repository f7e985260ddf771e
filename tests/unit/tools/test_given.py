"""What may be given as a tool, and what is refused in its place."""

import pytest

import critic_loop as cl
from critic_loop.core.errors import ConfigError
from critic_loop.core.tools import Tool, ToolOutput, tool_digest
from critic_loop.tools import tool, tools_by_name


class Own:
    """A tool of somebody's own: plain attributes, no base class."""

    name = "own"
    description = "Does it."
    parameters = {"type": "object", "properties": {}}
    read_only = False
    irreversible = False
    timeout_s = None
    scope = "loop"

    def __init__(self, **changed):
        vars(self).update(changed)

    def digest(self):
        return tool_digest(self)

    async def run(self, arguments, context):
        return ToolOutput.of("done")


def add(a: int, b: int) -> int:
    """Add."""
    return a + b


def test_an_object_that_fits_is_taken_as_it_is():
    own = Own()
    assert isinstance(own, Tool)
    assert tool(own) is own
    assert tools_by_name([own, add]) == {"own": own, "add": tool(add)}
    assert list(tools_by_name((add, own))) == ["add", "own"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (Own(name="no good"), "a tool cannot be called 'no good'"),
        (Own(name=None), "a tool cannot be called None"),
        (Own(parameters={"type": "string"}), "tool 'own': its parameters are not the JSON Schema of an object"),
        (Own(parameters=[]), "tool 'own': its parameters are not the JSON Schema of an object"),
        (Own(parameters={"type": "object", "x": object()}), "tool 'own': its parameters have no JSON form"),
        (Own(description=None), "tool 'own': its description is not a text"),
        (Own(scope="run"), "tool 'own': scope 'run' is unknown"),
        (Own, "Own is a class, not a tool"),
        ("grep", "'grep' is not a tool"),
        (3, "3 is not a tool. Give a function, a Tool, or a LangChain tool"),
    ],
)
def test_what_cannot_be_a_tool_is_refused_at_once(given, message):
    with pytest.raises(ConfigError, match=message):
        tools_by_name([given])


def test_what_an_object_lacks_is_named():
    class Half:
        name, description, parameters = "half", "", {}

        async def run(self, arguments, context): ...

    with pytest.raises(ConfigError, match="it lacks read_only, irreversible, timeout_s, scope, digest"):
        tool(Half())


def test_an_object_keeps_its_own_settings():
    with pytest.raises(ConfigError, match=r"tool\(\) cannot change its settings\. Set timeout_s"):
        tool(Own(), timeout_s=3)


def test_two_tools_of_one_name_are_refused():
    with pytest.raises(ConfigError, match="two tools have the name 'add'"):
        tools_by_name([add, tool(add)])


@pytest.mark.parametrize("given", ["grep", add, {"add": add}])
def test_tools_are_a_list(given):
    with pytest.raises(ConfigError, match="is not a list of tools"):
        tools_by_name(given)


def test_a_verifier_is_no_tool():
    @cl.verifier
    def short(view: cl.View[str]) -> bool:
        return True

    with pytest.raises(ConfigError, match="verifier 'short' cannot stand in as tool: what it says is evidence"):
        tool(short)
