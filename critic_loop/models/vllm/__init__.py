"""vLLM servers that are started, shared and stopped by this process: `vllm:NAME` without an address.

- `settings`: what a server is started with
- `process`, `supervisor`: the operating system's process, and what ends it in every case
- `server`: one server: start, sleep, pause, end; `servers`: all of this process
- `startup_checks`: what a new server must show before it is used
- `users`: the models on a server; `adapters`: the LoRA versions that it has loaded
- `device`: whose turn it is on a shared GPU; `pause`: weights that change in place
- `folders`: temporary folders; `managed`: the model in front of a server; `engine`: vLLM in this process
"""

from typing import TYPE_CHECKING

from critic_loop.core.lazy import lazy

if TYPE_CHECKING:
    from critic_loop.models.vllm.device import lend
    from critic_loop.models.vllm.pause import paused

__all__ = ["lend", "paused"]
__getattr__ = lazy(__name__, {"device": ("lend",), "pause": ("paused",)})
