"""Where the app and what comes with the program lie: beside the package in a clone, inside it once it is installed."""
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]

APP = PACKAGE / "app" if (PACKAGE / "app" / "app.py").is_file() else PACKAGE.parent
"""The folder of ``app.py`` and ``pages/``."""

ASSETS = APP / "assets"
"""Models, statistics, evaluations and samples."""
