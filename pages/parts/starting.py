"""What the server does as it starts: the first page is drawn once, so that nobody waits for what that loads."""
import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import streamlit as st
from streamlit.cli_util import open_browser
from streamlit.runtime import get_instance
from streamlit.web.server.server_util import get_url

LOG = logging.getLogger(__name__)
TRIES = 5  # of a minute each, where the machine is busy: what one has loaded the next need not


@asynccontextmanager
async def warm(app: st.App) -> AsyncIterator[None]:
    """While the server runs. Visitors can come at once: they wait for no more than is not loaded yet."""
    if not st.get_option("server.headless"):  # Streamlit opens a browser only where the file is no st.App
        open_browser(get_url(st.get_option("browser.serverAddress")))
    drawing = asyncio.create_task(_draw())
    yield
    drawing.cancel()
    from senet_viz.collecting.background import end_all  # the server answers before all is imported

    end_all()  # a signal ends the process at once


async def _draw() -> None:
    """Run the app for a visitor who does not exist: imports, the first model, what it makes of the first pictures."""
    ok, said = False, "timeout"
    for _ in range(TRIES):
        if said == "timeout":
            ok, said = await get_instance().does_script_run_without_error()
    if not ok:
        LOG.warning("The first page could not be drawn in advance (%s).", said)
