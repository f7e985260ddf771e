"""vLLM in the same process: the model contract, and the same tokens as a server.

    VLLM_PYTHON=/opt/vllm/bin/python python -m pytest tests/real/test_vllm_engine.py

`engine_contract.py` runs in VLLM_PYTHON, with this checkout, and with this Python's packages after its own.
"""

import asyncio
import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from critic_loop.core.messages import user
from critic_loop.core.protocols import Request
from critic_loop.core.records import Sampling
from critic_loop.models import resolve, score
from critic_loop.testing.model_contract import ModelContract
from tests.real.vllm import NEEDS_VLLM, PYTHON, SERVE

pytestmark = NEEDS_VLLM
ROOT = Path(__file__).parents[2]
CONTRACT = "tests/real/engine_contract.py"
RUN = """
import sys
sys.path[:0], sys.path[len(sys.path):] = [sys.argv[1]], [sys.argv[2]]
if __name__ == "__main__":
    import pytest
    sys.exit(pytest.main(sys.argv[3:]))
"""


async def served(folder):
    """Return the answers of a server, for comparison."""
    model = resolve(f"vllm:{folder / 'base'}", settings={"serve": SERVE})
    sampling = Sampling(temperature=0.0, max_tokens=32, logprobs=True)
    answer = await model.complete(Request(messages=(user("Is it right?"),), sampling=sampling))
    scored = await score(model, "Is it right?", "Yes.", "No.")
    await model.aclose()
    return {
        "token_ids": answer.choices[0].token_ids,
        "prompt_token_ids": answer.prompt_token_ids,
        "logprobs": answer.choices[0].logprobs,
        "scores": [sum(choice.logprobs) for choice in scored],
    }


def test_it_keeps_the_contract_and_answers_as_a_server_does(tiny):
    theirs = subprocess.check_output([PYTHON, "-c", "import sys; print(sys.version_info[:2])"], text=True)
    if theirs.strip() != str(sys.version_info[:2]):
        pytest.skip(f"the packages of this Python do not fit VLLM_PYTHON, {theirs.strip()}")
    (tiny / "served.json").write_text(json.dumps(asyncio.run(served(tiny))))
    script, report = tiny / "run.py", tiny / "report.xml"
    script.write_text(RUN)
    options = ("-q", "--rootdir", str(ROOT), "-W", "ignore", "-o", "filterwarnings=ignore", "-rs")
    done = subprocess.run(
        [
            PYTHON,
            str(script),
            str(ROOT),
            sysconfig.get_path("purelib"),
            *options,
            f"--junitxml={report}",
            CONTRACT,
        ],
        cwd=ROOT,
        env={**os.environ, **SERVE["environment"], "TINY": str(tiny)},
        capture_output=True,
        text=True,
        check=False,
    )
    output = (done.stdout + done.stderr)[-6000:]
    assert done.returncode == 0, output
    suite = ET.parse(report).getroot().find("testsuite").attrib
    assert int(suite["skipped"]) == 0, f"what is skipped there would count as passed here: {output}"
    shared = sum(name.startswith("test_") for name in vars(ModelContract))
    own = (ROOT / CONTRACT).read_text().count("\nasync def test_")
    assert int(suite["tests"]) >= shared + own, output
