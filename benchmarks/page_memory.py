"""Does what pages keep stay within its budget? SENet-154 and sixteen photos on Explore.

``python benchmarks/page_memory.py PHOTOS [--count 16] [--memory 2]``; see README.md.

The app runs in this process, without a server (streamlit.testing), and the network has random weights, for memory does
not depend on them. After each step stand the count of the store of what pages keep, the memory of the process, and the
most that both had meanwhile.
"""
import argparse
import gc
import platform
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]


def make():
    """The network, for ``--model``."""
    import timm.data

    import senet_viz as sv
    from senet_viz.models import senet154

    return sv.Model(senet154().eval(), timm.data.create_transform(224), [f"class {i}" for i in range(1000)],
                    name="SENet-154, random weights")


def memory() -> float:
    """GB of this process (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e9


def main() -> None:
    """Go through the steps and print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("photos", type=Path, help="folder of JPEG files")
    parser.add_argument("--count", type=int, default=16)
    parser.add_argument("--memory", default="2", help="of the app, GB")
    parser.add_argument("--steps", type=int, default=5)
    args = parser.parse_args()
    photos = sorted(args.photos.glob("*.jp*g"))[:args.count]
    sys.argv = ["app.py", "--model", "page_memory:make", "--memory", args.memory]
    from streamlit.runtime.pages_manager import PagesManager
    from streamlit.testing.v1 import AppTest

    from pages.parts.keeping import store

    PagesManager.uses_pages_directory = False
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=3600)
    app.query_params["sample"] = []
    most = [0.0, 0.0]

    def watch() -> None:
        while True:
            most[:] = max(most[0], store().bytes / 1e9), max(most[1], memory())
            time.sleep(0.05)

    threading.Thread(target=watch, daemon=True).start()

    def upload() -> None:
        app.pills(key="sample").set_value([])
        app.file_uploader(key="uploads").set_value([(p.name, p.read_bytes(), "image/jpeg") for p in photos]).run()

    steps = {
        "the network, two samples": app.run, f"{len(photos)} photos": upload, "the same again": app.run,
        "another block": lambda: app.selectbox(key="block").set_value("SE_3_2").run(),
        "another class": lambda: app.selectbox(key="class").set_value("class 7").run()}
    print(f"SENet-154, random weights, on Explore with --memory {args.memory}.\n\n"
          f"{platform.machine()}, Python {platform.python_version()}.\n\n| step | processor s | kept, GB | most | "
          f"process, GB | most |\n| --- | ---: | ---: | ---: | ---: | ---: |")
    for name, step in list(steps.items())[:args.steps]:
        most[:], begun = (0.0, 0.0), time.process_time()
        step()
        spent = time.process_time() - begun
        if app.exception or app.error:
            sys.exit(f"{name}: {[each.value for each in (*app.exception, *app.error)]}")
        gc.collect()
        print(f"| {name} | {spent:.1f} | {store().bytes / 1e9:.2f} | {most[0]:.2f} | {memory():.2f} | {most[1]:.2f} |",
              flush=True)


if __name__ == "__main__":
    main()
