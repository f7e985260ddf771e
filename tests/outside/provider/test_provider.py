"""A model provider of somebody else: one file and an entry point, and Critic Loop untouched."""

import asyncio
import json
from pathlib import Path

import pytest

import critic_loop as cl
from critic_loop import errors
from critic_loop.core import Request, Sampling, user
from critic_loop.core.messages import Image
from critic_loop.models import resolve
from critic_loop.testing import Fault, TestServer
from critic_loop.testing.model_contract import ModelContract
from tests.outside.installed import importable, imports, install, run

pytestmark = pytest.mark.anyio
FILE = Path(__file__).with_name("critic_loop_parrot.py")
KEY = "sk-parrot-31415926"
ASKED = Request(messages=(user("What is 6 * 7?"),))


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    return install(FILE.parent, tmp_path_factory.mktemp("site"))


@pytest.fixture
def installed(target, monkeypatch):
    monkeypatch.setenv("PARROT_API_KEY", KEY)
    yield from importable(target, monkeypatch)


def test_it_is_one_small_file_that_needs_core_and_errors_alone():
    assert len(FILE.read_text().splitlines()) <= 80
    assert imports(FILE) == {"critic_loop.core", "critic_loop.errors"}


@pytest.mark.usefixtures("installed")
class TestParrot(ModelContract):
    @pytest.fixture
    def secret(self):
        return KEY

    @pytest.fixture
    async def model(self, installed):
        from critic_loop_parrot import from_spec

        async with TestServer(key=KEY) as server:
            yield from_spec(f"test@{server.url}")

    @pytest.fixture
    async def broken(self, installed):
        from critic_loop_parrot import from_spec

        async with TestServer(faults=lambda _: Fault("auth")) as server:
            yield from_spec(f"test@{server.url}")


@pytest.mark.parametrize(
    ("fault", "kind", "transient"),
    [
        ("auth", errors.AuthFailed, False),
        ("unknown_model", errors.NoSuchModel, False),
        ("rate_limit", errors.RateLimited, True),
        ("server_error", errors.EndpointError, True),
        ("drop", errors.EndpointError, True),
        ("cut", errors.EndpointError, True),
        ("broken_json", errors.EndpointError, True),
        ("context", errors.EndpointError, False),
    ],
)
async def test_what_goes_wrong_is_typed_and_what_may_pass_is_sent_again(installed, fault, kind, transient):
    from critic_loop_parrot import from_spec

    async with TestServer(faults=lambda r: Fault(fault, retry_after_s=0.0) if r.number < 3 else None) as server:
        with pytest.raises(kind):
            await from_spec(f"test@{server.url}").complete(ASKED)
        if transient:
            assert (await resolve(f"parrot:test@{server.url}").complete(ASKED)).text
        assert len(server.requests) == (3 if transient else 1)


async def test_nothing_at_the_address_ends_the_job(installed):
    async with TestServer() as server:
        pass
    with pytest.raises(errors.Unreachable, match="Nothing answers"):
        await resolve(f"parrot:test@{server.url}").complete(Request(messages=ASKED.messages, retries=0))


@pytest.mark.parametrize("rest", ["test", "@http://h/v1", "test@ftp://h", "test@http://user:hidden@h/v1"])
def test_a_wrong_spec_says_what_to_write(installed, rest):
    with pytest.raises(errors.ConfigError, match="Write parrot:NAME@http://HOST/v1") as raised:
        resolve(f"parrot:{rest}")
    assert "hidden" not in str(raised.value)


@pytest.mark.parametrize(
    "more", [{"continues": True}, {"messages": (user("Look:", Image.of(b"\x89PNG", "image/png")),)}]
)
async def test_what_it_cannot_do_it_says(installed, more):
    with pytest.raises(errors.ModelError, match="completes texts and does nothing else"):
        await resolve("parrot:test@http://127.0.0.1:9/v1").complete(
            Request(**{"messages": ASKED.messages, **more})
        )


async def test_a_loop_runs_with_it(installed):
    def said(received):
        return "41" if received.number == 2 else "42"

    async with TestServer(said, key=KEY, faults=[Fault("rate_limit", retry_after_s=0.0)]) as server:
        loop = cl.Loop("try-again", actor=f"parrot:test@{server.url}")
        result = await loop.run(cl.Task.of("What is 6 * 7?", reference="42"))
    calls, replies = list(result.tree.calls.values()), list(result.tree.replies.values())
    assert (result.answer, result.stop, result.decided_by) == ("42", "verified", "verifier")
    assert {call.binding for call in calls} == {f"parrot:test@{server.url}"}
    assert [reply.sends for reply in replies] == [2, 1]
    assert all(reply.usage.output_tokens > 0 for reply in replies)
    assert result.spend.calls == len(server.requests) == 3
    assert all(r.body["seed"] >= 0 and r.body["n"] == 1 for r in server.requests)


async def test_sampling_is_passed_on(installed):
    sampling = Sampling(temperature=0.5, max_tokens=9, stop=("\n",))
    async with TestServer() as server:
        model = resolve(f"parrot:test@{server.url}")
        await model.complete(Request(messages=ASKED.messages, sampling=sampling, choices=2))
    [received] = server.requests
    sent = {name: received.body.get(name) for name in ("temperature", "max_tokens", "stop", "n", "model")}
    assert sent == {"temperature": 0.5, "max_tokens": 9, "stop": ["\n"], "n": 2, "model": "test"}


# -- as a stranger types it, in processes of their own ---------------------------------------------


async def test_the_command_line_finds_it(target, tmp_path):
    async def critic_loop(*command):
        return await asyncio.to_thread(run, target, tmp_path, "-m", "critic_loop", *command, PARROT_API_KEY=KEY)

    def said(received):
        return "Verdict: correct" if "You review answers" in received.body["messages"][0]["content"] else "42"

    async with TestServer(said, key=KEY) as server:
        spec = f"parrot:test@{server.url}"
        shown = await critic_loop("models", "--actor", spec, "--probe", "--json")
        ran = await critic_loop(
            "run", "What is 6 * 7?", "--actor", spec, "--critic", spec, "--store", "trees.db", "--json"
        )
    document = json.loads(shown.stdout)
    [row] = document["models"]
    assert "parrot" in document["backends"]
    assert (row["backend"], row["answers"], row["error"]) == ("parrot", True, None)
    assert row["about"] == "A model of Parrot's, asked over HTTP."
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["results"][0]["answer"] == "42"
    assert KEY.encode() not in b"".join(path.read_bytes() for path in tmp_path.glob("trees.db*"))


async def test_python_finds_it(target, tmp_path):
    async with TestServer(["42"]) as server:
        code = (
            "from critic_loop import Loop, Task\n"
            f"loop = Loop('try-again', actor='parrot:test@{server.url}')\n"
            "print(loop.run_sync(Task.of('What is 6 * 7?', reference='42')).answer)"
        )
        ended = await asyncio.to_thread(run, target, tmp_path, "-c", code)
    assert (ended.stdout, ended.stderr) == ("42\n", "")


def test_where_it_is_not_installed_there_is_no_such_backend():
    with pytest.raises(errors.ConfigError, match="There is no backend 'parrot'"):
        resolve("parrot:test@http://127.0.0.1:9/v1")
