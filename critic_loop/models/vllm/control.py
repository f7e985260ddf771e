"""What a vLLM server is asked beside its API: to sleep, to wake, to pause, to go on.

Knows vLLM's endpoints for that. Does not know when they are used (`vllm.server`). Everything here blocks.
"""

from __future__ import annotations

import http.client
import logging
from threading import Lock
from urllib.parse import urlencode

from pydantic import JsonValue

from critic_loop.core.errors import ModelError
from critic_loop.models.vllm.startup_checks import Ask

_log = logging.getLogger(__name__)
_TIMEOUT_S = 600.0
_DEVELOPMENT = (
    "It does in its development mode: set serve.device, or VLLM_SERVER_DEV_MODE in serve.environment."
)


class Control:
    """The control endpoints of one server."""

    def __init__(self, server: str, ask: Ask) -> None:
        """Take the server's name, for messages, and a function that sends it a request."""
        self._server = server
        self._ask = ask
        self._paused = Lock()

    def post(self, path: str, body: dict[str, JsonValue] | None = None, **query: str | int) -> bytes:
        """Send something that is not part of the API and return the answer's body.

        Raises:
            ModelError: the server does not do it.
        """
        target = f"{path}?{urlencode(query)}" if query else path
        try:
            status, said = self._ask("POST", target, body or {}, timeout_s=_TIMEOUT_S)
        except (OSError, http.client.HTTPException) as error:
            status, said = 0, type(error).__name__.encode()
        if status != 200:
            what = f"vLLM serving {self._server!r} answered {path} with {status or 'nothing'}: "
            raise ModelError(what + said[:200].decode(errors="replace"), hint=_DEVELOPMENT * (status == 404))
        return said

    def sleep(self, level: int) -> bool:
        """Put the server to sleep; return whether it sleeps."""
        return self._done("/sleep", level=level)

    def wake(self, level: int) -> bool:
        """Wake the server from a sleep of this level; return whether it is awake."""
        if level == 1:
            return self._done("/wake_up")
        # weights are read again before there is room for anything else
        read = self._done("/wake_up", tags="weights") and self._done(
            "/collective_rpc", {"method": "reload_weights"}
        )
        return read and self._done("/wake_up", tags="kv_cache")

    def pause(self, *, finish: bool) -> None:
        """Hold the server's calls, or let those in flight end first; clear its cache of prompts.

        Raises:
            ModelError: the server does not pause, or is paused already.
        """
        if not self._paused.acquire(blocking=False):
            raise ModelError(
                f"vLLM serving {self._server!r} is paused already.", hint="Wait for the other pause."
            )
        try:
            self.post("/pause", mode="wait" if finish else "keep", clear_cache="true")
        except BaseException:
            self._paused.release()
            raise

    def resume(self) -> None:
        """Let the server's calls go on.

        Raises:
            ModelError: the server does not resume.
        """
        try:
            self.post("/resume")
        finally:
            self._paused.release()

    def _done(self, path: str, body: dict[str, JsonValue] | None = None, **query: str | int) -> bool:
        try:
            self.post(path, body, **query)
        except ModelError as error:
            _log.warning("%s", error.message)
            return False
        return True
