"""What the server does as it starts."""
import asyncio
import gc
from concurrent.futures import ThreadPoolExecutor

import pytest
import streamlit as st

from pages.parts import starting
from tests.app.conftest import APP


@pytest.fixture
def begun(monkeypatch):
    """``begun(answer)``: a start with a server that answers so; how often it ran the app, and the browsers opened."""
    def begin(answer=(True, "ok"), headless: bool = True):
        runs, opened = [], []

        class Runtime:
            async def does_script_run_without_error(self):
                runs.append(1)
                return answer

        monkeypatch.setattr(starting, "get_instance", Runtime)
        monkeypatch.setattr(starting, "open_browser", opened.append)
        monkeypatch.setattr(gc, "freeze", lambda: None)
        monkeypatch.setattr(st, "get_option", lambda name: {"server.headless": headless}.get(name, "a.place"))

        async def serve():
            async with starting.warm(None):
                assert not runs  # visitors can come before the page is drawn
                for _ in range(20):
                    await asyncio.sleep(0)

        with ThreadPoolExecutor(1) as pool:  # Playwright's tests leave a loop running in this thread
            pool.submit(asyncio.run, serve()).result()
        return runs, opened
    return begin


def test_the_first_page_is_drawn_once(begun):
    assert begun() == ([1], [])


def test_a_page_that_fails_is_logged_and_the_server_goes_on(begun, caplog):
    assert begun((False, "error")) == ([1], [])
    assert "The first page could not be drawn in advance (error)." in caplog.text


def test_a_busy_machine_gets_several_minutes(begun, caplog):
    runs, _ = begun((False, "timeout"))
    assert len(runs) == starting.TRIES and "(timeout)" in caplog.text


def test_a_browser_opens_where_there_is_a_screen(begun):
    _, opened = begun(headless=False)
    assert len(opened) == 1 and opened[0].startswith("http://a.place:")


def test_streamlit_takes_the_file_for_an_app_with_a_start(monkeypatch):
    """``streamlit run app.py`` looks for it without running the file."""
    from streamlit.web.server.app_discovery import discover_asgi_app

    found = discover_asgi_app(APP)
    assert found.is_asgi_app and found.import_string == "app:app"

    import app

    assert app.app._user_lifespan is starting.warm and app.app._resolve_script_path() == APP
