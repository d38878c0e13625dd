"""The browser that prints: which one is taken, and what is said where it does not print. What it prints is looked at in
tests/browser/test_report.py."""
import os
import stat

import pytest

from senet_viz.reports import pdf
from senet_viz.reports.pdf import find_chromium, print_pdf

FAKE = """#!/bin/sh
for word; do case $word in --print-to-pdf=*) to=${word#--print-to-pdf=};; esac; last=$word; done
printf '%%PDF-1.4 of %s' "$last" > "$to"
"""


@pytest.fixture
def program(tmp_path, monkeypatch):
    """``program("chromium")``: a program on the path that writes what it was given to print."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin")
    monkeypatch.setattr(pdf, "PLACES", ())
    monkeypatch.delenv("CHROME_PATH", raising=False)

    def make(name: str, content: str = FAKE):
        path = folder / name
        path.write_text(content)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return str(path)
    return make


def test_which_browser(program, monkeypatch):
    edge, own, other = program("msedge"), program("my-browser"), program("another")
    monkeypatch.setattr(pdf, "NAMES", ("no-such-browser", "msedge"))
    assert find_chromium() == edge
    monkeypatch.setenv("CHROME_PATH", own)
    assert find_chromium() == own and find_chromium(other) == other and find_chromium("another") == other
    with pytest.raises(FileNotFoundError, match="no program /no/such"):
        find_chromium("/no/such")


def test_no_browser(program, monkeypatch):
    monkeypatch.setattr(pdf, "NAMES", ("no-such-browser",))
    with pytest.raises(FileNotFoundError, match="none was found here: name one with --chromium or CHROME_PATH"):
        find_chromium()


def test_it_is_given_the_page_and_its_file_is_kept(program, tmp_path):
    page = tmp_path / "a page 写.html"
    page.write_text("<p>")
    print_pdf(page, tmp_path / "out.pdf", program("chromium"))
    assert (tmp_path / "out.pdf").read_text() == f"%PDF-1.4 of {page.as_uri()}"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a page 写.html", "bin", "out.pdf"]


def test_a_browser_that_hangs_is_ended(program, tmp_path, monkeypatch):
    monkeypatch.setattr(pdf, "PATIENCE", 0.5)
    (tmp_path / "out.pdf").write_text("of before")
    with pytest.raises(TimeoutError, match=r"printed no PDF in 0\.5 seconds"):
        print_pdf(tmp_path / "page.html", tmp_path / "out.pdf", program("slow", "#!/bin/sh\nexec sleep 60\n"))
    assert (tmp_path / "out.pdf").read_text() == "of before"  # replaced by a whole file or not at all
