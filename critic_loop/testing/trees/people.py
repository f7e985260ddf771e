"""Trees of actions that are gated, and of attempts that wait for a person.

Knows records. Does not know models, searches or stores.
"""

from __future__ import annotations

from pydantic import JsonValue

from critic_loop.core.messages import ContentPart, Message, ToolCall, ToolResult, assistant, user
from critic_loop.core.records import Event, Feedback, Location, Subject, Task
from critic_loop.core.tree import Tree
from critic_loop.testing.tree_builder import ABSTAIN, FAIL, PASS, START, TreeBuilder, task_of


def gate_tree() -> Tree:
    """Return a tree of an action that a gate vetoes before it is executed, and of one that it then allows.

    A proposed action is a partial attempt. The gate's feedback is about its tool call.

    **Source**: GUI-Critic-R1 (Wanyan et al. 2025): a critic before the action.
    """
    builder = TreeBuilder("gate", task_of("Delete the temporary files under /tmp/build."), "gated")
    vetoed, calls = _propose(builder, "rm -rf /tmp", ())
    gate = Subject(attempts=(vetoed,), location=Location(message=0, content_part=1))
    veto = Feedback(
        author="gate/0/gate",
        verdict=FAIL,
        score=0.0,
        text="It deletes more than was asked for.",
        suggestion="rm -rf /tmp/build",
    )
    said = builder.say(gate, veto, asked="May this be executed? rm -rf /tmp")
    builder.settle(
        vetoed,
        *builder.tree[vetoed].messages,
        status="failed",
        error="vetoed",
        error_code="vetoed",
        calls=calls,
    )
    again, calls = _propose(builder, "rm -rf /tmp/build", (said,))
    gate = Subject(attempts=(again,), location=Location(message=0, content_part=1))
    allowed = Feedback(author="gate/0/gate", verdict=PASS, score=1.0, text="As asked.")
    builder.say(gate, allowed, asked="May this be executed? rm -rf /tmp/build")
    result = Message(role="tool", parts=(ToolResult.of("removed 12 files", call_id="call-1", name="shell"),))
    builder.settle(again, *builder.tree[again].messages, result, answer="removed 12 files", calls=calls)
    builder.say(again, Feedback(source="tool", author="shell", verdict=PASS, text="exit status 0"))
    return builder.end(again, "verifier", "accepted")


def _propose(builder: TreeBuilder, command: str, told: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    parts: tuple[str | ContentPart, ...] = (
        "I remove them.",
        ToolCall(
            id="call-1",
            name="shell",
            arguments={"command": command},
            arguments_text=f'{{"command":"{command}"}}',
        ),
    )
    message = assistant(*parts, sampled=True)
    attempt = builder.ask(kind="action", told=told)
    call = builder.call((attempt,), "actor/0/agent", builder.tree.task.text, message)
    builder.settle(attempt, message, status="partial", calls=(call,))
    return attempt, (call,)


def ask_for_help_tree() -> Tree:
    """Return a tree of an action that asks a human, is parked, and continues with the answer.

    The human's answer is feedback on the question; a judge's feedback names the blocker that the question
    resolves. Precision and recall follow from these and the number of blockers in the task's checks.

    **Source**: HiL-Bench: Ask-F1 over a hidden registry of blockers.
    """
    checks: dict[str, JsonValue] = {"hil": {"n_blockers": 2}}
    task = Task(prompt=(user("Deploy the service."),), checks=checks, tags=("ask_human",))
    builder = TreeBuilder("ask-for-help", task, "ask-for-help")
    question = ToolCall(id="q1", name="ask_human", arguments={"question": "To which region?"})
    message = assistant(question, sampled=True)
    attempt = builder.ask(kind="action")
    call = builder.call((attempt,), "actor/0/agent", task.text, message)
    builder.settle(attempt, message, status="parked", calls=(call,))
    builder.tree.append(Event(kind="park", at=START + 10, text="To which region?", data={"attempt": attempt}))
    where = Subject(attempts=(attempt,), location=Location(message=0, content_part=0))
    answered = builder.say(where, Feedback(source="human", author="ops", text="To eu-west-1."))
    data: dict[str, JsonValue] = {"blocker": "missing-region"}
    matched = Feedback(source="judge", author="judge/0/blocker", verdict=PASS, text="missing-region", data=data)
    builder.say(where, matched, asked="Which blocker does the question hit?")
    heard = Message(role="tool", parts=(ToolResult.of("To eu-west-1.", call_id="q1", name="ask_human"),))
    builder.settle(attempt, message, heard, calls=(call,))
    done = builder.write("Deployed to eu-west-1.", attempt, told=(answered,))
    builder.verify(done, PASS, 1.0)
    return builder.end(done, "verifier", "verified")


def parked_tree() -> Tree:
    """Return a tree whose attempt is parked for a human critic, after another critic abstained.

    **Source**: written for this project; human critics park their attempt while other lanes continue.
    """
    builder = TreeBuilder("parked", task_of("Write a slogan."), "human")
    attempt = builder.ask()
    message = assistant("Trees all the way down.", sampled=True)
    call = builder.call((attempt,), "actor/0/solver", builder.tree.task.text, message)
    builder.settle(attempt, message, answer=message.text, status="parked", calls=(call,))
    refused = Feedback(
        author="critic/0/style",
        verdict=ABSTAIN,
        parse="refused",
        reason="The model declined to judge.",
        advisory=True,
    )
    builder.say(attempt, refused)
    builder.tree.append(Event(kind="park", at=START + 20, text="human", data={"attempt": attempt}))
    return builder.end(None, "nobody", "parked")
