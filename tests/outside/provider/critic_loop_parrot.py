"""Parrot, a made-up vendor of chat models, as a backend: `parrot:NAME@http://HOST:PORT/v1`.

The key is read from `PARROT_API_KEY` for each call. Texts only: no tools, no images, no streaming.
"""

import asyncio
import os
import ssl
from typing import Any

import httpx

from critic_loop import errors
from critic_loop.core import Choice, Completion, Model, Request, Usage, assistant


def from_spec(rest: str) -> Model:
    """Return the model that `parrot:REST` names."""
    name, _, url = rest.partition("@")
    if not name or not url.startswith(("http://", "https://")) or "@" in url:
        raise errors.ConfigError(
            "A parrot has a name and an address.", hint="Write parrot:NAME@http://HOST/v1."
        )
    return Parrot(name, url.rstrip("/"))


class Parrot:
    """A model of Parrot's, asked over HTTP."""

    def __init__(self, name: str, url: str) -> None:
        self.name, self.url, self.spec = name, url, f"parrot:{name}@{url}"
        self._tls = ssl.create_default_context()

    async def complete(self, request: Request) -> Completion:
        """Answer `request`. It is sent once: Critic Loop sends it again where that may help."""
        texts_alone = not any(message.blobs for message in request.messages)
        if request.score or request.continues or request.tools or not texts_alone:
            raise errors.ModelError(f"{self.spec} completes texts and does nothing else.")
        try:
            async with asyncio.timeout(request.timeout_s):
                answer = await self._sent(request)
        except TimeoutError:
            raise errors.DeadlineExceeded(f"{self.spec}: no answer in {request.timeout_s} s.") from None
        except httpx.ConnectError:
            raise errors.Unreachable(f"Nothing answers at {self.url}.") from None
        except httpx.HTTPError as error:
            raise errors.EndpointError(f"{self.spec}: {type(error).__name__}.", transient=True) from None
        if not answer.is_success:
            raise self._failure(answer.status_code, answer.headers.get("retry-after", ""))
        try:
            return self._completion(answer.json())
        except (ValueError, LookupError, TypeError):
            raise errors.EndpointError(f"{self.spec} answered nonsense.", transient=True) from None

    async def aclose(self) -> None:
        """Do nothing: each call has a connection of its own, so that any event loop may ask."""

    async def _sent(self, request: Request) -> httpx.Response:
        said = [{"role": message.role, "content": message.text} for message in request.messages]
        sampling = request.sampling.model_dump(exclude={"logprobs", "extra"}, exclude_defaults=True)
        body = {"model": self.name, "messages": said, "n": request.choices, **sampling}
        headers = {"Authorization": f"Bearer {os.environ.get('PARROT_API_KEY') or 'none'}"}
        async with httpx.AsyncClient(verify=self._tls, timeout=None) as client:
            return await client.post(f"{self.url}/chat/completions", json=body, headers=headers)

    def _completion(self, body: dict[str, Any]) -> Completion:
        used, said = body["usage"], [(c["message"]["content"], c["finish_reason"]) for c in body["choices"]]
        choices = tuple(Choice(message=assistant(text, sampled=True), finish_reason=end) for text, end in said)
        usage = Usage(input_tokens=used["prompt_tokens"], output_tokens=used["completion_tokens"])
        return Completion(choices=choices, usage=usage, raw_usage=used, model=body.get("model", ""))

    def _failure(self, status: int, wait: str) -> errors.ModelError:
        what = f"{self.spec} answered {status}."
        if status in (401, 403):
            return errors.AuthFailed(what, hint="Set PARROT_API_KEY.")
        if status == 404:
            return errors.NoSuchModel(what)
        if status == 429:
            return errors.RateLimited(what, retry_after_s=float(wait) if wait.isdecimal() else None)
        return errors.EndpointError(what, status=status, transient=status >= 500)
