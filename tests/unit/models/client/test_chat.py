"""The chat client against the faulty server, one fault at a time."""

import asyncio
import gc
import logging
import threading

import httpx
import orjson
import pytest

from critic_loop.core.errors import (
    AuthFailed,
    ConfigError,
    ContextOverflow,
    CreditExhausted,
    DeadlineExceeded,
    ModelError,
    RateLimited,
    Refused,
    Unreachable,
)
from critic_loop.core.messages import Reasoning, Text, ToolCall, assistant, user
from critic_loop.core.protocols import OutputSchema, Request, ToolSpec
from critic_loop.core.records import Sampling
from critic_loop.models import OLLAMA, OPENAI, VLLM, ChatModel, EndpointError, ModelSettings, NoSuchModel
from critic_loop.testing import Fault, Reply, TestServer
from tests.unit.models.conftest import ask

pytestmark = pytest.mark.anyio


async def closing(model, request):
    try:
        return await model.complete(request)
    finally:
        await model.aclose()


async def test_text_usage_and_ids_arrive():
    async with TestServer(["four words are here"]) as server:
        completion = await closing(ChatModel("m", url=server.url), ask("two words"))
    assert completion.text == "four words are here"
    assert (completion.usage.input_tokens, completion.usage.output_tokens) == (2, 4)
    assert completion.raw_usage["total_tokens"] == 6
    assert (completion.model, completion.request_id) == ("m", "req-1")


@pytest.mark.parametrize(("reported", "expected"), [({}, "step 400"), ({"weight_version": "7"}, "7")])
async def test_the_settings_name_the_weights_where_the_endpoint_does_not(reported, expected):
    def answered(request):
        message = {"role": "assistant", "content": "yes"}
        body = {"choices": [{"message": message, "finish_reason": "stop"}], "metadata": reported}
        return httpx.Response(200, json=body)

    settings = ModelSettings(weight_version="step 400")
    transport = lambda: httpx.MockTransport(answered)  # noqa: E731
    model = ChatModel("m", url="http://127.0.0.1", settings=settings, transport=transport)
    assert (await closing(model, ask())).weight_version == expected


async def test_scores_have_the_weight_version_of_the_settings():
    async with TestServer() as server:
        model = ChatModel("m", url=server.url, profile=VLLM, settings=ModelSettings(weight_version="step 400"))
        request = Request(messages=(user("hi"),), score=("Yes",), choices=1)
        assert (await closing(model, request)).weight_version == "step 400"


async def test_the_key_travels_in_a_header_and_nowhere_else(key):
    async with TestServer(["yes"], key=key) as server:
        model = ChatModel("m", url=server.url)
        await closing(model, ask())
    [received] = server.requests
    assert received.headers["Authorization"] == f"Bearer {key}"
    assert key not in str(received.body)
    assert key not in f"{model!r} {model.spec} {vars(model)}"


async def test_without_a_variable_no_key_is_sent(monkeypatch):
    monkeypatch.delenv("CHAT_API_KEY")
    async with TestServer(["yes"]) as server:
        await closing(ChatModel("m", url=server.url), ask())
    assert "Authorization" not in server.requests[0].headers


FAULTS = [
    ("rate_limit", RateLimited, "429"),
    ("server_error", EndpointError, "500"),
    ("unavailable", EndpointError, "503"),
    ("cut", EndpointError, "broke off"),
    ("drop", EndpointError, "broke off"),
    ("broken_json", EndpointError, "not JSON"),
    ("empty", EndpointError, "without choices"),
    ("error_in_200", EndpointError, "upstream provider"),
    ("auth", AuthFailed, "CHAT_API_KEY"),
    ("forbidden", AuthFailed, "403"),
    ("credit", CreditExhausted, "402"),
    ("quota", CreditExhausted, "quota"),
    ("context", ContextOverflow, "maximum context length"),
    ("content_filter", Refused, "filter"),
    ("refusal", Refused, "I cannot help"),
    ("unknown_model", NoSuchModel, "It serves 'test'."),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("kind", "expected", "says"), FAULTS)
async def test_each_fault_is_one_typed_error_after_one_request(kind, expected, says, stream, key):
    pieces = []
    async with TestServer(faults=[Fault(kind)]) as server:
        request = ask(on_text=pieces.append if stream else None)
        with pytest.raises(ModelError) as raised:
            await closing(ChatModel("m", url=server.url), request)
    error = raised.value
    assert type(error) is expected
    assert says in str(error)
    assert len(server.requests) == 1
    assert "'m'" in str(error)
    assert server.url in str(error)
    assert key not in f"{error!r} {error} {error.hint}"


@pytest.mark.parametrize(("kind", "transient"), [("server_error", True), ("cut", True), ("error_in_200", True)])
async def test_endpoint_errors_say_whether_they_may_pass(kind, transient):
    async with TestServer(faults=[Fault(kind)]) as server:
        with pytest.raises(EndpointError) as raised:
            await closing(ChatModel("m", url=server.url), ask())
    assert raised.value.transient is transient


async def test_retry_after_is_carried():
    async with TestServer(faults=[Fault("rate_limit", retry_after_s=7.5)]) as server:
        with pytest.raises(RateLimited) as raised:
            await closing(ChatModel("m", url=server.url), ask())
    assert raised.value.retry_after_s == 7.5


@pytest.mark.parametrize(("fault", "timeout_s"), [(Fault("hang"), 0.05), (Fault("slow", pause_s=0.05), 0.1)])
async def test_no_answer_in_time_is_a_deadline(fault, timeout_s):
    async with TestServer(faults=[fault]) as server:
        with pytest.raises(DeadlineExceeded, match=f"within {timeout_s:g} s"):
            await closing(ChatModel("m", url=server.url), ask(timeout_s=timeout_s))


async def test_slow_bytes_arrive_in_the_end():
    async with TestServer(faults=[Fault("slow", pause_s=0.001)]) as server:
        assert (await closing(ChatModel("m", url=server.url), ask())).text


async def test_nobody_at_the_address_is_unreachable(key):
    async with TestServer() as server:
        url = server.url
    with pytest.raises(Unreachable) as raised:
        await closing(ChatModel("m", url=url), ask())
    assert url in str(raised.value)
    assert key not in str(raised.value)


async def test_a_key_echoed_by_the_endpoint_is_removed(key):
    async with TestServer(faults=[Fault("auth")]) as server:
        with pytest.raises(AuthFailed, match=r"\[key\]"):
            await closing(ChatModel("m", url=server.url), ask())


# -- streaming, tools, choices -------------------------------------------------------------------


TOOL = ToolSpec(name="f", parameters={"type": "object", "properties": {"a": {"type": "integer"}}})


@pytest.mark.parametrize("choices", [1, 2])
async def test_a_stream_gives_the_same_completion(choices):
    reply = assistant(Reasoning(text="hm hm"), "see the tool", ToolCall(id="x", name="f", arguments={"a": 1}))
    sampling = Sampling(logprobs=True)
    pieces = []
    async with TestServer(lambda _: reply) as server:
        model = ChatModel("m", url=server.url, profile=VLLM)
        request = ask(tools=(TOOL,), choices=choices, sampling=sampling)
        plain = await model.complete(request)
        streamed = await closing(
            model, ask(tools=(TOOL,), choices=choices, sampling=sampling, on_text=pieces.append)
        )
    assert "".join(pieces) == "see the tool"
    assert len(pieces) > 1
    assert streamed.usage == plain.usage
    assert streamed.prompt_token_ids == plain.prompt_token_ids
    assert len(streamed.choices) == choices
    for got, wanted in zip(streamed.choices, plain.choices, strict=True):
        assert got.model_copy(update={"message": None}) == wanted.model_copy(update={"message": None})
        assert [type(part) for part in got.message.parts] == [Reasoning, Text, ToolCall]
        call, other = got.message.tool_calls[0], wanted.message.tool_calls[0]
        assert (call.name, call.arguments, call.arguments_text) == ("f", {"a": 1}, '{"a":1}')
        assert other.arguments_text == '{"a":1}'


async def test_broken_arguments_are_kept_as_text():
    async with TestServer([Reply(tool_calls=(("f", '{"a": '),))]) as server:
        completion = await closing(ChatModel("m", url=server.url), ask(tools=(TOOL,)))
    [call] = completion.choices[0].message.tool_calls
    assert call.arguments is None
    assert call.arguments_text == '{"a": '
    assert completion.choices[0].finish_reason == "tool_calls"


async def test_a_schema_is_followed():
    schema = {"type": "object", "properties": {"verdict": {"enum": ["pass", "fail"]}}, "required": ["verdict"]}
    async with TestServer() as server:
        completion = await closing(
            ChatModel("m", url=server.url), ask(output=OutputSchema(name="critique", schema=schema))
        )
    assert completion.text in ('{"verdict":"pass"}', '{"verdict":"fail"}')


async def test_a_backend_without_n_is_asked_once_for_each_choice():
    async with TestServer() as server:
        model = ChatModel("m", url=server.url, profile=OLLAMA)
        completion = await closing(model, ask(choices=3, sampling=Sampling(seed=5)))
    assert sorted(received.body["seed"] for received in server.requests) == [5, 6, 7]
    assert len({choice.message.text for choice in completion.choices}) == 3
    assert completion.usage.output_tokens == sum(
        len(choice.message.text.split()) for choice in completion.choices
    )


async def test_an_endpoint_that_ignores_n_is_found_out(caplog):
    async with TestServer(lambda received: [f"answer {received.number}"]) as server:
        model = ChatModel("m", url=server.url)
        with caplog.at_level(logging.WARNING):
            first = await model.complete(ask(choices=3))
        second = await closing(model, ask(choices=2))
    assert [len(first.choices), len(second.choices)] == [3, 2]
    assert "n" in server.requests[0].body
    assert all("n" not in received.body for received in server.requests[1:])
    assert "ignores n" in caplog.text


async def test_the_first_failure_of_many_requests_is_raised():
    faults = [None, Fault("server_error"), None]
    async with TestServer(faults=faults) as server:
        with pytest.raises(EndpointError):
            await closing(ChatModel("m", url=server.url, profile=OLLAMA), ask(choices=3))


async def test_one_refusal_among_choices_is_kept():
    async with TestServer([Reply(refusal="No."), Reply(text="yes")]) as server:
        completion = await closing(ChatModel("m", url=server.url), ask(choices=2))
    assert [choice.finish_reason for choice in completion.choices] == ["refusal", "stop"]


# -- answers of odd servers ------------------------------------------------------------------------


def saying(content, content_type="application/json"):
    response = {"content": content, "headers": {"content-type": content_type}}
    return lambda: httpx.MockTransport(lambda _: httpx.Response(200, **response))


@pytest.mark.parametrize(
    ("content", "content_type", "says"),
    [
        (b"[]", "application/json", "not a JSON object"),
        (b'{"choices": [{"index": 0}]}', "application/json", "no answer that can be read"),
        (b'{"choices": 3}', "application/json", "no answer that can be read"),
        (b"data: {nonsense\n\n", "text/event-stream", "no chunk"),
        (b'data: {"choices": [3]}\n\n', "text/event-stream", "no chunk"),
        (b'data: {"error": {"message": "overloaded"}}\n\n', "text/event-stream", "overloaded"),
        (b"data: [DONE]\n\n", "text/event-stream", "without choices"),
        (b"", "text/event-stream", "broke off the stream"),
    ],
)
async def test_nonsense_is_a_typed_error(content, content_type, says):
    model = ChatModel("m", url="http://127.0.0.1", transport=saying(content, content_type))
    with pytest.raises(EndpointError, match=says):
        await closing(model, ask())


async def test_a_server_that_does_not_stream_gives_its_text_at_once():
    content = b'{"choices": [{"message": {"role": "assistant", "content": "all of it"}}]}'
    pieces = []
    model = ChatModel("m", url="http://127.0.0.1", transport=saying(content))
    await closing(model, ask(on_text=pieces.append))
    assert pieces == ["all of it"]


async def test_choices_that_nobody_asked_for_are_left_out():
    message = b'{"message": {"role": "assistant", "content": "x"}}'
    content = b'{"choices": [%s, %s, %s]}' % (message, message, message)
    model = ChatModel("m", url="http://127.0.0.1", transport=saying(content))
    assert len((await closing(model, ask(choices=2))).choices) == 2


# -- downgrades ------------------------------------------------------------------------------------


def picky(*unsupported, log=None):
    """A transport that refuses fields as OpenAI does."""

    def answer(request):
        import json

        body = json.loads(request.content)
        if log is not None:
            log.append(body)
        for field in unsupported:
            if field in body:
                error = {"message": "Unsupported", "param": field, "code": "unsupported_parameter"}
                return httpx.Response(400, json={"error": error})
        message = {"role": "assistant", "content": "yes"}
        return httpx.Response(200, json={"choices": [{"message": message, "finish_reason": "stop"}]})

    return lambda: httpx.MockTransport(answer)


async def test_fields_that_an_endpoint_refuses_are_learnt_once(caplog):
    log = []
    transport = picky("temperature", "max_tokens", log=log)
    model = ChatModel("m", url="http://127.0.0.1", transport=transport)
    request = ask(sampling=Sampling(temperature=0.5, max_tokens=5))
    with caplog.at_level(logging.WARNING):
        await model.complete(request)
        await closing(model, request)
    assert len(log) == 4
    assert log[-1]["max_completion_tokens"] == 5
    assert not {"temperature", "max_tokens"} & log[-1].keys()
    assert caplog.text.count("does not support") == 2


async def test_calls_at_the_same_time_learn_it_once(caplog):
    log = []
    model = ChatModel("m", url="http://127.0.0.1", transport=picky("temperature", "response_format", log=log))
    request = ask(sampling=Sampling(temperature=0.5), output=OutputSchema(name="N", schema={}))
    with caplog.at_level(logging.WARNING):
        await asyncio.gather(*[model.complete(request) for _ in range(5)])
        await closing(model, request)
    assert caplog.text.count("does not support temperature") == 1
    assert caplog.text.count("is asked for any JSON") == caplog.text.count("only the prompt asks") == 1
    assert not {"temperature", "response_format"} & log[-1].keys()


async def test_an_endpoint_that_cannot_stream_answers_whole(caplog):
    log, pieces = [], []
    model = ChatModel("m", url="http://127.0.0.1", transport=picky("stream", log=log))
    request = ask(on_text=pieces.append)
    with caplog.at_level(logging.WARNING):
        await model.complete(request)
        await closing(model, request)
    assert pieces == ["yes", "yes"]
    assert ["stream" in body for body in log] == [True, False, False]
    assert "stream_options" not in log[-1]
    assert caplog.text.count("does not support stream,") == 1


async def test_an_endpoint_that_counts_only_whole_answers_is_not_asked_to_stream_again(caplog):
    log, pieces = [], []

    def answer(request):
        log.append(orjson.loads(request.content))
        if log[-1].get("stream"):
            chunk = {"choices": [{"index": 0, "delta": {"content": "yes"}, "finish_reason": "stop"}]}
            events = b"data: " + orjson.dumps(chunk) + b"\n\ndata: [DONE]\n\n"
            return httpx.Response(200, content=events, headers={"content-type": "text/event-stream"})
        choice = {"message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 10, "completion_tokens": 2}
        return httpx.Response(200, json={"choices": [choice], "usage": usage})

    model = ChatModel("m", url="http://127.0.0.1", transport=lambda: httpx.MockTransport(answer))
    request = ask(on_text=pieces.append)
    with caplog.at_level(logging.WARNING):
        await model.complete(request)
        await model.complete(request)
        completion = await closing(model, request)
    assert pieces == ["yes"] * 3
    assert ["stream" in body for body in log] == [True, False, False]
    assert completion.usage.output_tokens == 2
    assert caplog.text.count("reports no usage") == 1


async def test_a_field_that_matters_is_not_dropped():
    model = ChatModel("m", url="http://127.0.0.1", transport=picky("tools"))
    with pytest.raises(EndpointError, match="400") as raised:
        await closing(model, ask(tools=(TOOL,)))
    assert not raised.value.transient


async def test_both_names_of_max_tokens_refused_is_an_error():
    transport = picky("max_tokens", "max_completion_tokens")
    with pytest.raises(EndpointError):
        await closing(
            ChatModel("m", url="http://127.0.0.1", transport=transport), ask(sampling=Sampling(max_tokens=5))
        )


async def test_settings_add_fields_below_the_sampling():
    settings = ModelSettings(extra={"top_k": 3, "temperature": 1.0})
    async with TestServer(["yes"]) as server:
        await closing(
            ChatModel("m", url=server.url, settings=settings), ask(sampling=Sampling(temperature=0.0))
        )
    assert (server.requests[0].body["top_k"], server.requests[0].body["temperature"]) == (3, 0.0)


async def test_what_the_settings_ask_for_and_the_endpoint_refuses_is_an_error_and_no_endless_loop():
    refused = {"error": {"message": "response_format is not supported"}}
    sent = []

    def answer(request):
        sent.append(orjson.loads(request.content))
        assert len(sent) < 5
        return httpx.Response(400, json=refused)

    settings = ModelSettings(extra={"response_format": {"type": "json_object"}}, timeout_s=1)
    model = ChatModel(
        "m", url="http://test/v1", settings=settings, transport=lambda: httpx.MockTransport(answer)
    )
    with pytest.raises(EndpointError, match="not supported"):
        await model.complete(ask())
    assert len(sent) == 1


async def test_the_longest_hold_of_several_requests_counts():
    headers = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "3s"}
    choice = {"message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}
    answers = iter([{}, headers, {}])
    transport = httpx.MockTransport(
        lambda request: httpx.Response(200, json={"choices": [choice]}, headers=next(answers))
    )
    model = ChatModel("m", url="http://test/v1", profile=OLLAMA, transport=lambda: transport)
    assert (await model.complete(ask(choices=3))).hold_s == 3.0


# -- connections -----------------------------------------------------------------------------------


def test_nobody_has_to_close_anything():
    async def main():
        async with TestServer(["yes"]) as server:
            return await ChatModel("m", url=server.url).complete(ask())

    assert asyncio.run(main()).text == "yes"
    gc.collect()  # a session left open would warn, and warnings are errors here


async def test_many_calls_at_once_share_one_transport():
    async with TestServer(delay_s=0.02) as server:
        model = ChatModel("m", url=server.url)
        calls = [model.complete(ask(str(i))) for i in range(200)]
        completions = await asyncio.wait_for(asyncio.gather(*calls), 10)
        await model.aclose()
    assert len({completion.text for completion in completions}) == 200


async def test_closing_reaches_other_loops():
    ready, release = asyncio.Event(), threading.Event()
    here = asyncio.get_running_loop()

    async def elsewhere():
        await model.complete(ask())
        here.call_soon_threadsafe(ready.set)
        await asyncio.to_thread(release.wait)
        await model.complete(ask())

    async with TestServer() as server:
        model = ChatModel("m", url=server.url)
        thread = asyncio.create_task(asyncio.to_thread(lambda: asyncio.run(elsewhere())))
        await ready.wait()
        await model.complete(ask())
        await model.aclose()
        release.set()
        await thread
    assert len(server.requests) == 3


async def test_images_arrive_as_data_urls():
    from critic_loop.core.messages import Image

    async with TestServer(["a dot"]) as server:
        request = Request(messages=(user("what is this?", Image.of(b"\x89PNG", "image/png")),))
        await closing(ChatModel("m", url=server.url, profile=OPENAI), request)
    content = server.requests[0].body["messages"][0]["content"]
    assert content[1]["image_url"]["url"] == "data:image/png;base64,iVBORw=="


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("http://h:8000", "http://h:8000/v1"),
        ("http://h:8000/", "http://h:8000/v1"),
        ("https://h/api/v3/", "https://h/api/v3"),
        ("http://h/v1/chat/completions", "http://h/v1"),
    ],
)
def test_addresses_have_one_form(given, expected):
    assert ChatModel("m", url=given).spec == f"chat:m@{expected}"


@pytest.mark.parametrize(
    "url",
    [
        "", "gpu:8000", "ftp://h", "ftp://u:secret@h", "http://u:secret@h/v1", "http://h/v1?key=secret",
        "http://u:pa/secret@h:1/v1", "http://u:a@secret@h/v1", "http:u:secret@h", "http://h/v1#secret",
        "http://h:secret/v1", "http://h:99999/v1", "http://[secret/v1",
    ],
)  # fmt: skip
def test_addresses_with_secrets_or_without_a_scheme_are_refused(url):
    with pytest.raises(ConfigError) as raised:
        ChatModel("m", url=url)
    assert "secret" not in str(raised.value)


def test_proxies_are_for_other_machines_only(monkeypatch):
    from critic_loop.models.transport.connections import open_transport

    monkeypatch.setenv("http_proxy", "http://proxy:3128")
    monkeypatch.setenv("no_proxy", "inside")
    proxies = [open_transport(httpx.URL(f"http://{host}/v1")).proxy for host in ("127.0.0.1", "inside", "far")]
    assert proxies[:2] == [None, None]
    assert proxies[2].url.host == "proxy"


def test_certificates_are_checked():
    import ssl

    from critic_loop.models.transport.connections import open_transport

    context = open_transport(httpx.URL("https://127.0.0.1/v1")).ssl_context
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
