"""A module that a library imports and we do without is there for whoever uses it."""

import sys
import threading

import pytest

from connectorlib.service.postponed_imports import left_out, postponed


@pytest.fixture
def rarely_used(tmp_path, monkeypatch):
    (tmp_path / "rarely_used.py").write_text("ANSWER = 42")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("rarely_used", None)


def imported():
    import rarely_used  # type: ignore[import-not-found]

    return rarely_used


def test_a_postponed_module_is_imported_at_its_first_use(rarely_used):
    with postponed("rarely_used"):
        later = imported()
    assert "rarely_used" not in sys.modules
    assert later.ANSWER == 42
    assert imported() is sys.modules["rarely_used"] is not later


def test_another_thread_has_it_meanwhile(rarely_used):
    answers = []
    with postponed("rarely_used"):
        thread = threading.Thread(target=lambda: answers.append(imported().ANSWER))
        thread.start()
        thread.join()
    assert answers == [42]
    assert imported().ANSWER == 42


def test_what_is_left_out_is_none_for_the_library_alone(rarely_used):
    with left_out("rarely_used", "ANSWER"):
        from rarely_used import ANSWER
    assert ANSWER is None
    assert imported().ANSWER == 42


def test_what_is_imported_already_stays(rarely_used):
    module = imported()
    with postponed("rarely_used"), left_out("rarely_used", "ANSWER"):
        assert imported() is module
    assert imported() is module
