"""vLLM servers that are started, shared and stopped here: `vllm:NAME` without an address.

`settings` is what a server is started with, `keeper` and `process` are its life, `server` is what it is asked
beside its API, `turns` is who has the device, `managed` is the model in front of it.
"""
