"""The files that put the app on a server: what they name is there, and the options that they use exist."""
import configparser
import fnmatch
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
import tomllib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from streamlit import config

from pages.parts import model, own_run, pictures
from senet_viz.data import images

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "deploy"
PAGE = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")


def instructions() -> list[tuple[str, str]]:
    """Of the Dockerfile: each instruction with what stands behind it."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    lines = re.sub(r"^\s*#.*\n", "", text, flags=re.M).replace("\\\n", " ").splitlines()
    return [(line.split(None, 1)[0], line.split(None, 1)[1].strip()) for line in lines if line.strip()]


def named(instruction: str) -> list[str]:
    return [rest for name, rest in instructions() if name == instruction]


def environment() -> dict[str, str]:
    return dict(word.split("=", 1) for rest in named("ENV") for word in shlex.split(rest))


def let_in(path: str) -> bool:
    """Whether .dockerignore leaves a file in: the last pattern that matches it or a folder above it counts."""
    inside = True
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        pattern, parts = line.removeprefix("!"), path.split("/")
        above = parts if pattern.startswith("**/") else ["/".join(parts[:count + 1]) for count in range(len(parts))]
        if any(fnmatch.fnmatch(each, pattern.removeprefix("**/")) for each in above):
            inside = line.startswith("!")
    return inside


def options() -> dict[str, config.ConfigOption]:
    """Streamlit's, by the environment variables that set them."""
    return {option.env_var: option for option in config._config_options_template.values()}


# --- the container


def test_what_the_image_copies_is_there_and_not_ignored():
    sources = [source for rest in named("COPY") for source in rest.split()[:-1]]
    assert {"app.py", "pages", "senet_viz", "assets", "requirements.txt"} <= set(sources)
    for source in sources:
        path = ROOT / source
        assert path.exists(), source
        files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
        kept = [file.relative_to(ROOT).as_posix() for file in files if let_in(file.relative_to(ROOT).as_posix())]
        assert kept, source
    assert not any(map(let_in, ("README.md", ".git/config", "tests/conftest.py", "pages/__pycache__/a.pyc",
                                ".streamlit/secrets.toml", "assets/screenshots/explore.png", "shared/data")))


def test_what_a_program_needs_is_in_the_image():
    """As the wheel has it, which the tests of the package install: but for the package's own description."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = settings["tool"]["hatch"]["build"]["targets"]["wheel"]
    files = [*(path.strip("/") for path in wheel["include"]), *wheel["force-include"]]
    copied = [source for rest in named("COPY") for source in rest.split()[:-1]]
    assert all(any(file == source or file.startswith(f"{source}/") for source in copied) for file in files)


def test_a_change_of_code_installs_nothing_anew():
    names = [name for name, _ in instructions()]
    last = len(names) - 1 - names[::-1].index("RUN")
    assert [rest for name, rest in instructions()[:last] if name == "COPY"] == ["requirements.txt ."]


def test_the_settings_of_the_image_are_settings_of_streamlit():
    given = {key: value for key, value in environment().items() if key.startswith("STREAMLIT_")}
    assert set(given) <= set(options()) and given["STREAMLIT_SERVER_ADDRESS"] == "0.0.0.0"
    assert named("EXPOSE") == [given["STREAMLIT_SERVER_PORT"]] == ["8501"]
    assert not [rest for rest in named("USER") if rest in ("root", "0")] and named("USER")


def test_the_image_starts_the_app_as_it_is_told():
    """What follows the image's name comes after the "--"."""
    entry, = (yaml.safe_load(rest) for rest in named("ENTRYPOINT"))
    assert entry[:2] == ["streamlit", "run"] and entry[-1] == "--"
    assert f"{named('WORKDIR')[0]}/{entry[2]}" == "/app/app.py" and "app.py" in " ".join(named("COPY")).split()


class Answers(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        self.send_response(200 if self.path == self.server.right else 404)
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_):
        pass


@pytest.mark.parametrize(("base", "right"), [("", "/_stcore/health"), ("/viz/", "/viz/_stcore/health")])
def test_health(base, right):
    check, = named("HEALTHCHECK")
    command = yaml.safe_load(check[check.index("["):])
    assert command == ["python", "healthcheck.py"] and "deploy/healthcheck.py" in " ".join(named("COPY"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.asked, server.right = [], right
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def code() -> int:
        return subprocess.run([sys.executable, DEPLOY / "healthcheck.py"], capture_output=True, env=os.environ | {
            "STREAMLIT_SERVER_PORT": str(server.server_port), "STREAMLIT_SERVER_BASE_URL_PATH": base,
            "http_proxy": "http://127.0.0.1:9"}).returncode

    try:
        assert code() == 0 and server.asked == [right]
        server.right = "elsewhere"
        assert code() == 1
    finally:
        server.shutdown()
        server.server_close()
    assert code() == 1


# --- hosting services, systemd, proxies


def test_the_head_of_the_space():
    _, head, text = (DEPLOY / "space.md").read_text(encoding="utf-8").split("---\n")
    settings = yaml.safe_load(head)
    assert settings["sdk"] == "docker" and settings["app_port"] == int(environment()["STREAMLIT_SERVER_PORT"])
    colours = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
    assert {settings["colorFrom"], settings["colorTo"]} <= colours
    assert set(settings) <= {"title", "emoji", "colorFrom", "colorTo", "sdk", "app_port", "license"}
    assert all((ROOT / name).exists() for name in re.findall(r"`([\w./]+)`", text))


def test_the_unit():
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str
    lines = (DEPLOY / "senet_viz.service").read_text(encoding="utf-8")
    unit.read_string(lines)
    command = shlex.split(unit["Service"]["ExecStart"])
    folder = unit["Service"]["WorkingDirectory"]
    assert command[0] == f"{folder}/.venv/bin/streamlit" and command[1:4] == ["run", "app.py", "--"]
    given = dict(word.split("=", 1) for line in re.findall(r"^Environment=(.*)$", lines, re.M) for word in line.split())
    assert {key for key in given if key.startswith("STREAMLIT_")} <= set(options())


@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")
def test_nginx_takes_its_file(tmp_path):
    text = (DEPLOY / "nginx.conf").read_text(encoding="utf-8").replace("listen 80;", "listen 127.0.0.1:8080;")
    paths = " ".join(f"{name}_temp_path {tmp_path}/{name};" for name in (
        "client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (tmp_path / "nginx.conf").write_text(
        f"pid {tmp_path}/pid; error_log {tmp_path}/log; events {{}} http {{ access_log off; {paths} {text} }}")
    said = subprocess.run(["nginx", "-t", "-c", tmp_path / "nginx.conf"], capture_output=True, text=True)
    assert said.returncode == 0, said.stderr


@pytest.mark.skipif(shutil.which("caddy") is None, reason="Caddy is not installed")
def test_caddy_takes_its_file():
    said = subprocess.run(["caddy", "adapt", "--adapter", "caddyfile", "--config", DEPLOY / "Caddyfile"],
                          capture_output=True, text=True)
    assert said.returncode == 0 and "127.0.0.1:8501" in said.stdout, said.stderr


# --- docs/operating.md


@pytest.mark.parametrize("name", ["nginx.conf", "Caddyfile"])
def test_the_page_shows_the_files(name):
    assert f"```\n{(DEPLOY / name).read_text(encoding='utf-8')}```" in PAGE


def test_the_limits_that_the_page_names():
    log, = re.findall(r"^MAX_SIZE = (\d+) << 20", (ROOT / "pages" / "training.py").read_text(encoding="utf-8"), re.M)
    server = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text(encoding="utf-8"))["server"]
    assert server["maxUploadSize"] >= max(model.MAX_CHECKPOINT, images.MAX_BYTES >> 20, int(log))
    for line in (
            f"| a photo | {images.MAX_BYTES >> 20} MB, {images.MAX_PIXELS // 10**6} megapixels, one side at most "
            f"{images.MAX_ASPECT} times the other |",
            f"| photos of a visitor | {pictures.MAX_PICTURES}, and {pictures.MAX_BYTES >> 20} MB together |",
            f"| photos in a run over folders | {own_run.MAX_PHOTOS} of {images.MAX_BYTES >> 20} MB;",
            f"| a training log | {log} MB |", f"| a checkpoint | {model.MAX_CHECKPOINT} MB |",
            f"| any upload | `server.maxUploadSize`, {server['maxUploadSize']} MB |"):
        assert line in PAGE


def test_the_settings_that_the_page_names():
    assert set(re.findall(r"STREAMLIT_[A-Z_]+", PAGE)) <= set(options())
    names = set(re.findall(r"`((?:server|browser|logger|client)\.\w+)`", PAGE))
    assert names and names <= set(config._config_options_template)


def test_the_options_of_the_app_that_the_page_names():
    said = subprocess.run([sys.executable, "-m", "senet_viz", "app", "--help"], capture_output=True, text=True,
                          check=True, cwd=ROOT).stdout
    rows = set(re.findall(r"^\| `(--\w+) ", PAGE, re.M))
    assert rows == {"--models", "--model", "--statistics", "--data", "--memory"}
    assert all(option in said for option in rows | {"--port"})
    source = (ROOT / "app.py").read_text(encoding="utf-8")
    assert set(re.findall(r'add_argument\("(--\w+)"', source)) == rows


def test_files_that_the_page_names():
    names = re.findall(r"`((?:deploy|pages|senet_viz|\.streamlit)/[\w./]+)`", PAGE)
    assert names and all((ROOT / name).exists() for name in names)
