"""Take the README's screenshots: ``python assets/screenshots/take.py`` (needs playwright and Chromium)."""
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SAMPLES = "sample=teapot&sample=orange+and+lemon&sample=school+bus"
SHOTS = {  # file → query, colour scheme, anchors of the first heading in the picture and of the one behind it
    "excitation.png": (f"?model=demo/se_resnet50_slim&block=SE_3_1&{SAMPLES}", "light", "blocks", "channel"),
    "grad_cam.png": (f"?model=demo/sknet50_slim&{SAMPLES}", "dark", "kernels", "gate-change"),
    "classes.png": ("classes?model=demo/se_resnet50_slim", "light", "lines", "depth"),
}


def main() -> None:
    """Start the app, take each picture, stop the app."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port), "--server.address",
         "127.0.0.1", "--server.headless", "true", "--server.fileWatcherType", "none"], cwd=ROOT)
    try:
        time.sleep(5)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"),
                args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"])
            for file, (query, scheme, first, behind) in SHOTS.items():
                page = browser.new_page(viewport={"width": 1440, "height": 12_000}, color_scheme=scheme)
                page.goto(f"http://127.0.0.1:{port}/{query}")
                page.get_by_text("Report as one HTML file").first.wait_for(timeout=120_000)
                page.wait_for_timeout(5000)  # charts animate in
                start, end = (page.locator(f"#{anchor}").bounding_box() for anchor in (first, behind))
                page.screenshot(path=HERE / file, clip={
                    "x": start["x"] - 30, "y": start["y"] - 5, "width": start["width"] + 60,
                    "height": end["y"] - start["y"]})
            browser.close()
    finally:
        server.terminate()
        server.wait(20)


if __name__ == "__main__":
    main()
