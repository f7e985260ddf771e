from dataclasses import dataclass

import pytest

from critic_loop.core.errors import ConfigError
from critic_loop.core.protocols import ToolSpec
from critic_loop.export import FORMATS, Exporter, Preference, Sft, exporter_of
from critic_loop.export.formats import settings_of


@dataclass(frozen=True)
class Mine:
    name: str = "mine"
    when_empty: str = "nothing"

    def rows(self, trees):
        return iter(())


def test_formats_are_found_by_their_names():
    assert {name: exporter_of(name).name for name in FORMATS} == {name: name for name in FORMATS}
    assert all(isinstance(exporter_of(name), Exporter) for name in FORMATS)


def test_settings_become_fields():
    assert exporter_of("preference", {"margin": 0.25, "by": ["judge"]}) == Preference(
        margin=0.25, by=("judge",)
    )
    tools = [{"name": "add", "description": "Adds."}]
    assert exporter_of("sft", {"tools": tools}) == Sft(tools=(ToolSpec(name="add", description="Adds."),))
    assert settings_of(exporter_of("sft", {"tools": tools}))["tools"][0]["name"] == "add"


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("nope", {}, "critique_sft, preference, sft"),
        ("sft", {"onyl": "all"}, r"has no setting 'onyl'\. There are: only"),
        ("sft", {"only": "some"}, "setting 'only'"),
        ("preference", {"pairs": "many"}, "setting 'pairs'"),
        (Mine(), {"x": 1}, "settings= cannot change the exporter object"),
    ],
)
def test_wrong_settings_are_named(name, settings, said):
    with pytest.raises(ConfigError, match=said):
        exporter_of(name, settings)


def test_exporters_of_others_are_used_as_they_are(monkeypatch, tmp_path):
    (tmp_path / "other_exporters.py").write_text(
        "from dataclasses import dataclass\n"
        "class Plain:\n"
        "    when_empty = 'nothing'\n"
        "    def __init__(self, name='plain'):\n"
        "        self.name = name\n"
        "    def rows(self, trees):\n"
        "        return iter(())\n"
        "ready = Plain('ready')\n"
        "def made(*, name='made'):\n"
        "    return Plain(name)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    mine = Mine()
    assert exporter_of(mine) is mine
    assert exporter_of("other_exporters:Plain", {"name": "x"}).name == "x"
    assert exporter_of("other_exporters:ready").name == "ready"
    assert exporter_of("other_exporters:made", {"name": "y"}).name == "y"
    assert settings_of(exporter_of("other_exporters:ready")) == {}
