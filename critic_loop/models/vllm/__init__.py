"""vLLM servers that are started, shared and stopped here: `vllm:NAME` without an address.

`settings` is what a server is started with, `keeper` and `process` are its life, `server` is what it does and
is told beside its API, `sanity` what makes it trusted, `users` are the models on it, `servers` all of this
process, `adapters` are the LoRA versions that it has, `turns` is who has the device, `pause` holds it still,
`folders` are what it leaves on the disk, `managed` is the model in front of it.
"""

from typing import TYPE_CHECKING

from critic_loop.core.lazy import lazy

if TYPE_CHECKING:
    from critic_loop.models.vllm.pause import paused
    from critic_loop.models.vllm.turns import lend

__all__ = ["lend", "paused"]
__getattr__ = lazy(__name__, {"pause": ("paused",), "turns": ("lend",)})
