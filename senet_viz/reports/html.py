"""Sections of a page, and one self-contained HTML file of them that opens offline."""
import base64
import html
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from PIL import Image
from plotly.offline import get_plotlyjs

MARKS = re.compile(r"\\(?P<escaped>[!-/:-@\[-`{-~])|\*\*(?P<bold>.+?)\*\*|\*(?P<italic>(?:\\.|.)+?)\*|`(?P<code>.+?)`")
ROWS = 200  # a longer table is cut in the report, which says so; the CSV has it all


@dataclass
class Section:
    """A heading with what stands under it: text, figure, table, and the script that gives the table's numbers.

    ``text`` is Markdown of paragraphs, **bold**, *italic* and `code`; see ``plain`` for what is put into it.
    """

    title: str
    text: str = ""
    figure: go.Figure | None = None
    table: pd.DataFrame | None = None
    script: str = ""
    pictures: Sequence[tuple[str, np.ndarray]] = field(default_factory=list)  # name, (H, W, 3) uint8


def report(title: str, facts: dict[str, str], sections: Iterable[Section]) -> str:
    """One HTML document with everything in it: pictures, figures with their JavaScript, tables and scripts.

    Args:
        title: of the document.
        facts: what it was made with, a line each: model, device, versions.
        sections: in order.
    """
    parts = [f"<h1>{html.escape(title)}</h1>", "<dl>"]
    parts += [f"<dt>{html.escape(key)}</dt><dd>{html.escape(value)}</dd>" for key, value in facts.items()]
    parts.append("</dl>")
    for section in sections:
        parts.append(f"<section><h2>{html.escape(section.title)}</h2>")
        if section.text:
            parts.append(f"<p>{_html(section.text)}</p>")
        parts += [f'<figure class="picture"><img src="{_png(picture)}" alt="{html.escape(name)}">'
                  f"<figcaption>{html.escape(name)}</figcaption></figure>" for name, picture in section.pictures]
        if section.figure is not None:
            alt = html.escape((section.figure.layout.meta or {}).get("alt", section.title))
            drawn = go.Figure(section.figure).update_layout(template="plotly_white")
            parts.append(f'<div role="img" aria-label="{alt}">'
                         + drawn.to_html(full_html=False, include_plotlyjs=False) + "</div>")
        if section.table is not None:
            shown = section.table.head(ROWS)
            cut = f" (the first {ROWS:,})" if len(section.table) > ROWS else ""
            parts.append(f"<details><summary>Table, {len(section.table):,} rows{cut}</summary>"
                         + shown.to_html(index=False, border=0, float_format=lambda v: f"{v:.5g}") + "</details>")
        if section.script:
            parts.append("<details><summary>Reproduce this</summary><pre>" + html.escape(section.script)
                         + "</pre></details>")
        parts.append("</section>")
    return PAGE.format(title=html.escape(title), plotly=get_plotlyjs(), body="\n".join(parts))


def _html(text: str) -> str:
    def mark(match: re.Match) -> str:
        for name, tag in (("bold", "strong"), ("italic", "em"), ("code", "code")):
            if match[name] is not None:
                return f"<{tag}>{MARKS.sub(mark, match[name])}</{tag}>"
        return match["escaped"]

    return MARKS.sub(mark, html.escape(text))


def _png(picture: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 1200px; margin: 2rem auto; padding: 0 1rem; color: #222;
       background: #fff; }}
dl {{ display: grid; grid-template-columns: max-content 1fr; gap: 0 1rem; }}
dt {{ font-weight: 600; }} dd {{ margin: 0; }}
figure.picture {{ display: inline-block; margin: .5rem; width: 160px; vertical-align: top; font-size: .8rem;
                  overflow-wrap: anywhere; }}
figure.picture img {{ width: 160px; image-rendering: pixelated; }}
details {{ margin: .5rem 0; overflow-x: auto; }} summary {{ cursor: pointer; }}
table {{ border-collapse: collapse; font-size: .85rem; }} td, th {{ padding: .15rem .6rem; text-align: right; }}
tr:nth-child(even) {{ background: #f5f5f5; }} pre {{ background: #f5f5f5; padding: 1rem; overflow-x: auto; }}
</style>
<script>{plotly}</script>
</head>
<body>
{body}
</body>
</html>
"""
