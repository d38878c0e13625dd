"""With what a report was made, and when: the last lines of its head."""
import importlib.metadata
import platform
import tomllib
from datetime import date

from ..data.places import PACKAGE


def made() -> dict[str, str]:
    """The versions of what computed it, and the day."""
    versions = {name: importlib.metadata.version(name) for name in ("torch", "timm", "plotly")}
    return {"Software": ", ".join([f"senet_viz {_own_version()}", f"Python {platform.python_version()}",
                                   *(f"{name} {version}" for name, version in versions.items())]),
            "Made on": date.today().isoformat()}


def _own_version() -> str:
    try:
        return importlib.metadata.version("senet-viz")
    except importlib.metadata.PackageNotFoundError:  # run from a clone that is not installed
        with (PACKAGE.parent / "pyproject.toml").open("rb") as file:
            return tomllib.load(file)["project"]["version"]
