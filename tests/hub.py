"""A Hugging Face hub of one repository on 127.0.0.1, which holds its answer back until it is told to go on."""
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import safetensors.torch
import timm

NAME = "timm/mobilenetv3_small_050.lamb_in1k"  # the smallest


class Hub:
    """Its address, the weights that it has, and what came to pass."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.module = timm.create_model("mobilenetv3_small_050").eval()
        self.content = safetensors.torch.save(self.module.state_dict())
        self.go_on = threading.Event()
        self.sent = threading.Event()  # the first part of the file
        self.ranges: list[str | None] = []

    @property
    def environment(self) -> dict[str, str]:
        """For processes that shall ask this hub, and keep what they get in a folder of the test."""
        return {"HF_ENDPOINT": self.address, "HF_HUB_CACHE": str(self.folder / "hub"), "HF_HUB_DISABLE_XET": "1",
                "TORCH_HOME": str(self.folder / "torch"), "NO_PROXY": "127.0.0.1", "HF_HUB_OFFLINE": "0"}


@contextmanager
def running(folder: Path):
    hub = Hub(folder)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self):
            self.answer(body=False)

        def do_GET(self):
            self.answer(body=True)

        def answer(self, body: bool):
            there = self.path.endswith("/model.safetensors")
            if there and body:
                hub.ranges.append(self.headers["Range"])
            start = int((self.headers["Range"] or "bytes=0-").removeprefix("bytes=").partition("-")[0])
            content = hub.content[start:] if there else b""
            self.send_response((206 if start else 200) if there or self.path == "/" else 404)
            if not there and self.path != "/":
                self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("ETag", '"0123456789abcdef"')
            self.send_header("X-Repo-Commit", "0" * 40)
            self.send_header("Accept-Ranges", "bytes")
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(hub.content) - 1}/{len(hub.content)}")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if body:
                self.wfile.write(content[:100_000])
                self.wfile.flush()
                if there:
                    hub.sent.set()
                    hub.go_on.wait(120)
                try:
                    self.wfile.write(content[100_000:])
                except ConnectionError:  # whoever asked has gone
                    self.close_connection = True

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        hub.go_on.set()
        server.shutdown()
        server.server_close()


