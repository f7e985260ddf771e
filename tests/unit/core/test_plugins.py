import sys
from types import ModuleType

import pytest

from critic_loop.core import plugins
from critic_loop.core.errors import ConfigError
from critic_loop.models.providers.openai import PROVIDER


@pytest.fixture
def registered(tmp_path, monkeypatch):
    """A package with entry points, installed for as long as the test runs."""
    info = tmp_path / "outside-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: outside\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[outside.group]\nzoo = outside_mod:fn\nape = no_such_mod:fn\n"
        "emu = outside_mod:Bird.make [feathers]\nowl = outside_mod:fn\n"
        "[critic_loop.models]\nopenai = outside_mod:fn\n"
    )
    other = tmp_path / "other-1.0.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (other / "entry_points.txt").write_text("[outside.group]\nowl = other_mod:fn\n")
    (tmp_path / "outside_mod.py").write_text(
        "def fn(): return 'called'\nclass Bird:\n    @staticmethod\n    def make(): return 'made'\n"
    )
    (tmp_path / "broken_mod.py").write_text("1 / 0\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    plugins._registered.cache_clear()  # pyright: ignore[reportPrivateUsage]
    yield
    for name in ("outside_mod", "broken_mod"):
        sys.modules.pop(name, None)
    plugins._registered.cache_clear()  # pyright: ignore[reportPrivateUsage]


def test_a_path_is_loaded(monkeypatch):
    module = ModuleType("some.where")
    module.thing = object()
    monkeypatch.setitem(sys.modules, "some.where", module)
    assert plugins.load("some.where:thing") is module.thing
    assert plugins.find("any.group", "some.where:thing") is module.thing


@pytest.mark.usefixtures("registered")
def test_an_entry_point_is_found_by_name():
    assert plugins.find("outside.group", "zoo")() == "called"
    assert plugins.names("outside.group") == ["ape", "emu", "owl", "zoo"]
    assert plugins.names("empty.group") == []


@pytest.mark.usefixtures("registered")
def test_what_nobody_registered_is_none():
    assert plugins.find("outside.group", "bear") is None
    assert plugins.find("empty.group", "zoo") is None


@pytest.mark.usefixtures("registered")
def test_a_registered_one_that_cannot_be_loaded_raises():
    with pytest.raises(ConfigError, match=r"'no_such_mod:fn': cannot import 'no_such_mod'.*No module named"):
        plugins.find("outside.group", "ape")


@pytest.mark.usefixtures("registered")
def test_an_entry_point_may_be_a_method_and_need_extras():
    assert plugins.find("outside.group", "emu")() == "made"


@pytest.mark.usefixtures("registered")
def test_no_other_package_replaces_an_entry_point_of_this_one():
    assert plugins.find("critic_loop.models", "openai") is PROVIDER


@pytest.mark.usefixtures("registered")
def test_a_name_that_two_other_packages_register_is_refused():
    with pytest.raises(ConfigError, match=r"several packages register 'owl'.*other_mod:fn"):
        plugins.find("outside.group", "owl")


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("outside_mod:nothing", "module 'outside_mod' has no 'nothing'"),
        ("broken_mod:x", "cannot import 'broken_mod': ZeroDivisionError"),
        ("outside_mod", "is not of the form 'package.module:name'"),
        ("outside_mod:", "is not of the form"),
        (":fn", "is not of the form"),
        (".outside_mod:fn", "is not of the form"),
    ],
)
def test_a_wrong_path_says_what_is_wrong(path, message):
    with pytest.raises(ConfigError, match=message):
        plugins.load(path)
