"""Tables as senet_viz.tables makes them; what is drawn from them goes through Plotly's own checks."""
import re

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from senet_viz.figures.drawing import Drawing

UGLY = ("<b>bold</b> &amp; <a href='x'>.jpg", "Ärger 写真 😀.png", "100%{y} %{customdata[0]}.jpg", "x" * 200 + ".jpg",
        "")


@pytest.fixture(autouse=True)
def checked(monkeypatch):
    """No figure has a name that Plotly does not know, or a value that it does not take."""
    drawn = Drawing.figure

    def figure(self) -> go.Figure:
        go.Figure(drawn(self).to_dict())
        return drawn(self)

    monkeypatch.setattr(Drawing, "figure", figure)


def kernel(branch: int) -> str:
    return f"{3 + 2 * branch}×{3 + 2 * branch}"


@pytest.fixture(params=UGLY, ids=["html", "unicode", "template", "long", "empty"])
def ugly(request) -> str:
    """A name that a file may have."""
    return request.param


@pytest.fixture
def summary():
    """``summary(pictures, branches)``: SE_2_1, SE_2_2, SE_3_1 or the like of SK."""
    def make(pictures=("a", "b"), branches=1, seed=0) -> pd.DataFrame:
        generator = np.random.default_rng(seed)
        rows = []
        for picture in pictures:
            for label, stage in (("2_1", 2), ("2_2", 2), ("3_1", 3)):
                for branch in range(branches):
                    q = np.sort(generator.uniform(0.1, 0.9, 7))
                    kind = "SK" if branches > 1 else "SE"
                    rows.append({
                        "picture": picture, "block": f"layer{label}", "label": f"{kind}_{label}", "stage": stage,
                        "kind": kind, "branch": branch, "kernel": kernel(branch) if branches > 1 else "",
                        "channels": 64, "mean": generator.uniform(0.3, 0.7), "std": generator.uniform(0.01, 0.3),
                        **dict(zip(("min", "q05", "q25", "median", "q75", "q95", "max"), q)),
                        "below": generator.uniform(0, 0.2), "above": generator.uniform(0, 0.2)})
        return pd.DataFrame(rows)
    return make


@pytest.fixture
def contributions():
    """``contributions(pictures, branches, shortcut)``."""
    def make(pictures=("a", "b"), branches=1, shortcut=True, seed=0) -> pd.DataFrame:
        generator = np.random.default_rng(seed)
        rows = []
        for picture in pictures:
            for label, stage in (("2_1", 2), ("2_2", 2), ("3_1", 3)):
                gates, befores = generator.uniform(0.1, 0.9, branches), generator.uniform(1, 5, branches)
                afters = gates * befores
                added = generator.uniform(1, 5) if shortcut and branches == 1 else float("nan")
                whole = afters.sum() if branches > 1 else afters[0] + added
                rows += [{"picture": picture, "block": f"layer{label}", "label": f"SE_{label}", "stage": stage,
                          "branch": m, "kernel": kernel(m) if branches > 1 else "", "gate": gates[m],
                          "before": befores[m], "after": afters[m], "kept": gates[m], "shortcut": added,
                          "share": afters[m] / whole}
                         for m in range(branches)]
        return pd.DataFrame(rows)
    return make


def numbers(text: str) -> list[float]:
    """The numbers of a sentence, in order; labels such as SE_2_1 and sizes such as 4×4 are none."""
    found = re.findall(r"(?<![\w×.])[+-]?\d+(?:\.\d+)?%?(?![\w×])", text)
    return [float(n.rstrip("%")) / (100 if n.endswith("%") else 1) for n in found]


@pytest.fixture(name="numbers")
def _numbers():
    return numbers


@pytest.fixture
def stage_marks():
    """The stages' names by their place, and the places of the lines between them."""
    def read(figure) -> tuple[dict[float, str], list[float]]:
        names = {a.x: a.text for a in figure.layout.annotations if a.text and a.text.startswith("Stage")}
        return names, sorted({shape.x0 for shape in figure.layout.shapes if shape.x0 == shape.x1})
    return read
