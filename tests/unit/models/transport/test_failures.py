"""What error bodies and headers are read as."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import orjson
import pytest

from critic_loop.core.errors import (
    AuthFailed,
    ContextOverflow,
    CreditExhausted,
    EndpointError,
    NoSuchModel,
    RateLimited,
    Refused,
)
from critic_loop.models.transport.failures import failure, hold_s, rejected_parameter, reset_s, retry_after_s


def failed(status, error, *, secret="", key_env="KEY", headers=None):
    body = error if isinstance(error, bytes) else orjson.dumps(error)
    return failure(status, body, headers or {}, endpoint="Model 'm' at URL", key_env=key_env, secret=secret)


@pytest.mark.parametrize(
    ("status", "error", "expected"),
    [
        (400, {"error": {"message": "The prompt is too long: 9 tokens > 8"}}, ContextOverflow),
        (400, {"message": "the decoder prompt is longer than the maximum model length of 8"}, ContextOverflow),
        (400, {"error": {"message": "exceeds the available context size"}}, ContextOverflow),
        (500, {"error": {"code": "context_length_exceeded"}}, ContextOverflow),
        (400, {"error": {"message": "bad temperature"}}, EndpointError),
        (400, {"error": "a plain string"}, EndpointError),
        (400, ["odd"], EndpointError),
        (404, b"<html>not found</html>", NoSuchModel),
        (429, {"error": {"type": "insufficient_quota"}}, CreditExhausted),
        (429, b"", RateLimited),
        (403, {"error": {"code": "billing_not_active"}}, CreditExhausted),
        (403, {"error": {"message": "no"}}, AuthFailed),
        (400, {"error": {"code": "content_filter"}}, Refused),
        (529, {"error": {"message": "overloaded"}}, EndpointError),
    ],
)
def test_statuses_and_bodies_have_types(status, error, expected):
    got = failed(status, error)
    assert type(got) is expected
    assert f"answered {status}" in str(got)


@pytest.mark.parametrize(
    ("status", "transient"), [(400, False), (422, False), (408, True), (500, True), (529, True)]
)
def test_only_some_statuses_pass(status, transient):
    assert failed(status, b"x").transient is transient


def test_nothing_that_looks_like_a_key_is_shown():
    said = {"error": {"message": "bad key hunter2 or sk-abcd1234efgh or Bearer abc.def"}}
    text = str(failed(401, said, secret="hunter2"))
    assert "hunter2" not in text
    assert "abcd1234" not in text
    assert "abc.def" not in text
    assert "Check the key in KEY" in text


def test_advice_fits_whether_a_key_was_sent():
    assert "Set KEY to a key" in str(failed(401, b"no"))
    assert "key_env" in str(failed(401, b"no", key_env=""))


def test_long_bodies_are_cut():
    assert len(str(failed(500, b"x" * 10_000))) < 600


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "0.25"}, 0.25),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "soon"}, None),
        ({"retry-after-ms": "soon"}, None),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "7s"}, 7.0),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "7s", "retry-after": "2"}, 2.0),
    ],
)
def test_pauses_are_read(headers, expected):
    assert retry_after_s(headers) == expected


def test_a_date_is_a_pause_too():
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    assert 95 < retry_after_s({"retry-after": later}) <= 100


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1s", 1.0), ("120ms", 0.12), ("6m0s", 360.0), ("1h2m3.5s", 3723.5), ("17.5", 17.5), ("", 0.0),
        ("soon", 0.0), ("2015-10-21T07:28:00Z", 0.0),
    ],
)  # fmt: skip
def test_times_until_a_reset_are_read(text, expected):
    assert reset_s(text) == pytest.approx(expected)


def test_a_reset_may_be_a_moment():
    now = datetime.now(UTC).timestamp()
    later = datetime.fromtimestamp(now + 30, UTC).isoformat()
    for text in (f"{now + 30:.0f}", f"{1000 * (now + 30):.0f}", later, later.replace("+00:00", "Z")):
        assert 28 < reset_s(text) <= 31


def test_nothing_is_sent_until_a_limit_is_reset_of_which_nothing_is_left():
    used_up = {"anthropic-ratelimit-tokens-remaining": "0", "anthropic-ratelimit-tokens-reset": "9s"}
    assert hold_s({}) == 0.0
    assert hold_s({"x-ratelimit-remaining-requests": "1", "x-ratelimit-reset-requests": "9s"}) == 0.0
    assert hold_s(used_up) == 9.0
    assert hold_s(used_up | {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "86400"}) == 60.0


OPTIONAL = ("temperature", "top_p", "stop", "response_format")


@pytest.mark.parametrize(
    ("error", "field"),
    [
        ({"code": "unsupported_value", "param": "temperature"}, "temperature"),
        ({"code": "unsupported_value"}, None),
        ({"message": "`temperature` is deprecated for this model."}, "temperature"),
        ({"message": "temperature is not supported for m when set to non-default values"}, "temperature"),
        ({"message": "`temperature` and `top_p` cannot both be specified for this model."}, "top_p"),
        ({"message": "`temperature` may only be set to 1 when thinking is enabled."}, "temperature"),
        ({"message": "temperature: must be at most 1"}, None),
        ({"message": "Invalid schema for response_format", "param": "response_format"}, None),
        ({"message": "'response_format' is not supported with this model", "param": "response_format"},
         "response_format"),
        ({"message": "This model does not support structured outputs."}, "response_format"),
        ({"message": "output_format: Extra inputs are not permitted"}, "response_format"),
        ({"message": "images are not supported"}, None),
    ],
)  # fmt: skip
def test_refused_fields_are_found_only_where_they_are_named(error, field):
    assert rejected_parameter(orjson.dumps({"error": error}), OPTIONAL, "response_format") == field


def test_text_without_a_field_names_none():
    assert rejected_parameter(b"temperature?", OPTIONAL, "response_format") is None


@pytest.mark.parametrize(
    ("status", "kind", "message", "expected"),
    [
        (400, "invalid_request_error", "Your credit balance is too low to access the API.", CreditExhausted),
        (402, "billing_error", "spend limit", CreditExhausted),
        (401, "authentication_error", "invalid x-api-key", AuthFailed),
        (400, "invalid_request_error", "prompt is too long: 3 tokens > 2 maximum", ContextOverflow),
        (400, "invalid_request_error", "Output blocked by content filtering policy", Refused),
        (404, "not_found_error", "model: x", NoSuchModel),
        (529, "overloaded_error", "Overloaded", EndpointError),
        (200, "rate_limit_error", "in the middle of a stream", RateLimited),
    ],
)
def test_anthropics_errors_have_the_same_types(status, kind, message, expected):
    got = failed(status, {"type": "error", "error": {"type": kind, "message": message}, "request_id": "r"})
    assert type(got) is expected
