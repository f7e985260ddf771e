"""Stands for vLLM as a process: `fake.py serve NAME --port P ...`. No code is shared with what is tested.

It takes a moment to be healthy, wants the key of its environment, has a worker that outlives a kill of its
parent, and writes each request that matters to the file in FAKE_LOG. A NAME can make it misbehave.
"""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NAME = sys.argv[sys.argv.index("serve") + 1]
PORT = int(sys.argv[sys.argv.index("--port") + 1])
ADAPTERS: dict[str, str] = {}
STATE = {"paused": False, "asleep": 0, "weights": True, "in_flight": 0, "slow": 0.0}


def note(**what):
    with open(os.environ["FAKE_LOG"], "a") as file:
        file.write(json.dumps({"name": NAME, "at": time.time(), **what}) + "\n")


def starts():
    with open(os.environ["FAKE_LOG"]) as file:
        return sum(json.loads(line)["path"] == "start" for line in file)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def close_connection_without_an_answer(self):
        self.close_connection = True

    def error(self, status, message):
        self.answer(status, {"error": {"message": message, "code": status}})

    def do_GET(self):
        names = [NAME] if "aliased" not in NAME else ["alias"]
        most = int(sys.argv[sys.argv.index("--max-model-len") + 1]) if "--max-model-len" in sys.argv else 64
        listing = [{"id": name, "root": NAME, "max_model_len": min(most, 64)} for name in names]
        told = {"/health": {}, "/v1/models": {"data": listing}, "/version": {"version": "0.0"}}
        self.answer(200 if self.path in told else 404, told.get(self.path, {}))

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        if (
            self.path.startswith("/v1")
            and self.headers["Authorization"] != f"Bearer {os.environ['VLLM_API_KEY']}"
        ):
            return self.error(401, "Unauthorized")
        if self.path == "/v1/chat/completions":
            return self.chat(body)
        note(path=self.path, **body)
        return self.control(self.path, body)

    def control(self, path, body):
        if path == "/v1/load_lora_adapter":
            if "--enable-lora" not in sys.argv or "VLLM_ALLOW_RUNTIME_LORA_UPDATING" not in os.environ:
                return self.error(400, "no adapters")
            if body["lora_name"] in ADAPTERS:
                return self.error(400, f"The lora adapter '{body['lora_name']}' has already been loaded.")
            if not os.path.exists(os.path.join(body["lora_path"], "adapter_config.json")):
                return self.error(400, "no adapter there")
            ADAPTERS[body["lora_name"]] = body["lora_path"]
            if NAME == "mumbles":
                return self.close_connection_without_an_answer()
        elif path == "/v1/unload_lora_adapter":
            if ADAPTERS.pop(body["lora_name"], None) is None:
                return self.error(404, "not loaded")
        elif path.startswith("/sleep"):
            if "--enable-sleep-mode" not in sys.argv or STATE["in_flight"]:
                return self.error(500, "cannot sleep")
            STATE["asleep"] = int(path.partition("level=")[2][0])
            STATE["weights"] = STATE["asleep"] == 1
        elif path.startswith("/wake_up"):
            if "tags=weights" not in path:
                STATE["asleep"] = 0
        elif path == "/collective_rpc":
            STATE["weights"] = "broken" not in NAME
        elif path.startswith(("/pause", "/resume")) and "VLLM_SERVER_DEV_MODE" in os.environ:
            STATE["paused"] = path.startswith("/pause")
        else:
            return self.error(404, "Not Found")
        return self.answer(200, {})

    def chat(self, body):
        said = body["messages"][-1]["content"]
        note(path="chat", model=body["model"], said=said)
        if body["model"] != NAME and body["model"] not in ADAPTERS:
            return self.error(404, f"The model {body['model']} does not exist.")
        if STATE["asleep"]:
            return self.error(500, "asleep")
        if said == "die" or (said == "die once" and starts() == 1):
            os._exit(3)
        STATE["in_flight"] += 1
        time.sleep(float(said.partition("slow ")[2] or 0))
        while STATE["paused"]:
            time.sleep(0.01)
        STATE["in_flight"] -= 1
        text = f"{body['model']}: {said}" if STATE["weights"] else "!!!!"
        message = {"role": "assistant", "content": text}
        return self.answer(
            200,
            {
                "model": body["model"],
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 1, "completion_tokens": 1},
            },
        )


def main():
    worker = subprocess.Popen([sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)"])
    sockets = os.environ.get("VLLM_RPC_BASE_PATH", "")
    if sockets:
        open(os.path.join(sockets, "left-behind"), "w").close()
    note(path="start", pid=os.getpid(), worker=worker.pid, arguments=sys.argv[1:], sockets=sockets)
    print("loading weights", flush=True)
    if NAME == "dies":
        print(f"CUDA out of memory, by the way the key is {os.environ['VLLM_API_KEY']}", flush=True)
        os._exit(5)
    if NAME == "hangs" or (NAME == "hangs-later" and starts() == 2):
        time.sleep(600)
    if NAME == "babbles":
        with socket.create_server(("127.0.0.1", PORT)) as early:
            connection, _ = early.accept()
            with connection:
                connection.sendall(b"not yet\r\n\r\n")
    time.sleep({"late": 0.8, "later": 1.5}.get(NAME, 0.1))
    server = ThreadingHTTPServer(("127.0.0.1", PORT), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    threading.Event().wait()


main()
