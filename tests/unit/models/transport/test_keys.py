"""Keys: from the environment, else from a keyring that is installed."""

import logging
import sys

import pytest

from critic_loop.core.errors import ConfigError
from critic_loop.models import resolve
from critic_loop.models.transport import keys
from critic_loop.models.transport.keys import key_of


class Keyring:
    def __init__(self, held=None, error=None):
        self.held, self.error, self.asked = held or {}, error, []

    def get_password(self, service, user):
        self.asked.append((service, user))
        if self.error:
            raise self.error
        return self.held.get(user)


@pytest.fixture
def installed(monkeypatch):
    def install(*given, **fields):
        keyring = Keyring(*given, **fields)
        monkeypatch.setitem(sys.modules, "keyring", keyring)
        return keyring

    keys._from_keyring.cache_clear()
    yield install
    keys._from_keyring.cache_clear()


def test_the_environment_comes_first_and_the_keyring_is_not_asked(installed, monkeypatch):
    keyring = installed({"OPENAI_API_KEY": "of the keyring"})
    monkeypatch.setenv("OPENAI_API_KEY", " of the environment\n")
    assert (key_of("OPENAI_API_KEY"), key_of(""), keyring.asked) == ("of the environment", "", [])


def test_else_the_keyring_is_asked_once(installed):
    keyring = installed({"OPENAI_API_KEY": "of the keyring"})
    for _ in range(3):
        assert (key_of("OPENAI_API_KEY"), key_of("OTHER_KEY")) == ("of the keyring", "")
    assert keyring.asked == [("critic-loop", "OPENAI_API_KEY"), ("critic-loop", "OTHER_KEY")]
    assert resolve("openai:gpt").spec == "openai:gpt", "a key that is needed may lie there"


def test_without_either_a_key_that_is_needed_is_missed(installed):
    with pytest.raises(ConfigError, match="OPENAI_API_KEY is not set"):
        resolve("openai:gpt")


def test_a_keyring_that_cannot_be_read_is_told_without_what_it_said(installed, caplog):
    caplog.set_level(logging.WARNING)
    installed(error=RuntimeError("locked; the key is sk-123456"))
    assert key_of("OPENAI_API_KEY") == ""
    assert caplog.messages == ["The keyring was not read for OPENAI_API_KEY (RuntimeError)"]
