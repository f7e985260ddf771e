import pytest

from critic_loop.export import CritiqueSft, Preference, Sft
from critic_loop.testing.export_contract import ExporterContract


class TestSft(ExporterContract):
    @pytest.fixture(
        params=[
            Sft(),
            Sft(only="passed", columns="prompt_completion"),
            Sft(only="all", context="task", sampled=False, thinking=True, kinds=("answer", "step", "action")),
        ],
        ids=["default", "passed", "all"],
    )
    def exporter(self, request):
        return request.param


class TestPreference(ExporterContract):
    @pytest.fixture(
        params=[Preference(), Preference(prompt="shown", pairs=100), Preference(by=("judge",), margin=0.1)],
        ids=["default", "shown", "judge"],
    )
    def exporter(self, request):
        return request.param


class TestCritiqueSft(ExporterContract):
    @pytest.fixture(
        params=[CritiqueSft(), CritiqueSft(agrees="required", columns="prompt_completion")],
        ids=["default", "required"],
    )
    def exporter(self, request):
        return request.param
