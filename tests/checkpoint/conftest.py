"""For tests in which threads die as processes do."""

import threading

import pytest


@pytest.fixture
def quiet_deaths(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that ends by SystemExit says nothing, as Python has it and pytest has not; others are told as ever."""
    told = threading.excepthook

    def hook(args: threading.ExceptHookArgs) -> None:
        if not issubclass(args.exc_type, SystemExit):
            told(args)

    monkeypatch.setattr(threading, "excepthook", hook)
