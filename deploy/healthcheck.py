"""Whether the app answers, for a container's health check: exit code 0 if it does."""
import os
import sys
from urllib.request import ProxyHandler, build_opener

port = os.environ.get("STREAMLIT_SERVER_PORT", "8501")
path = "/".join(filter(None, (os.environ.get("STREAMLIT_SERVER_BASE_URL_PATH", "").strip("/"), "_stcore/health")))
try:
    # no proxy: it is this machine that is asked
    with build_opener(ProxyHandler({})).open(f"http://127.0.0.1:{port}/{path}", timeout=5) as answer:
        print(answer.read().decode())
except OSError as error:
    sys.exit(f"The app does not answer: {error}.")
