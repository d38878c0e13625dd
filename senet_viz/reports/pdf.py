"""An HTML report as PDF, printed by a Chromium that is at hand: what draws its figures draws them on paper."""
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from ..data.files import replacing

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge", "microsoft-edge",
         "microsoft-edge-stable", "brave-browser", "brave")
PLACES = (  # on a Mac they are on no path
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge")
PATIENCE = 300  # seconds


def find_chromium(named: str | None = None) -> str:
    """A browser that prints: the one that is named, in ``CHROME_PATH`` where None, or the first on the path.

    Raises:
        FileNotFoundError: one sentence.
    """
    if named := named or os.environ.get("CHROME_PATH"):
        if found := shutil.which(named):
            return found
        raise FileNotFoundError(f"there is no program {named} to print a PDF with")
    for name in (*NAMES, *PLACES):
        if found := shutil.which(name):
            return found
    raise FileNotFoundError("a PDF is printed by Chromium, Chrome or Edge, and none was found here: name one with "
                            "--chromium or CHROME_PATH, or print the HTML file from any browser")


def print_pdf(page: str | Path, pdf: str | Path, chromium: str) -> None:
    """Print an HTML file as a whole PDF file, or none.

    Args:
        page: the HTML file.
        pdf: the file to write.
        chromium: the program, as ``find_chromium`` gives it.

    Raises:
        OSError: one sentence, where it prints none.
    """
    # a profile of its own: a browser that is open would take the page as a new tab. In containers there is no sandbox,
    # and the page is our own
    with replacing(pdf) as part, tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        try:
            done = subprocess.run(
                [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
                 "--no-first-run", f"--user-data-dir={profile}", "--no-pdf-header-footer",
                 f"--print-to-pdf={part.resolve()}", Path(page).resolve().as_uri()],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=PATIENCE)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError(f"{chromium} printed no PDF in {PATIENCE} seconds") from error
        if not part.read_bytes().startswith(b"%PDF-"):
            said = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
            raise OSError(f"{chromium} printed no PDF{f' ({said[0]})' if said else ''}")
