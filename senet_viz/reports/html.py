"""Sections of a page, and one self-contained HTML file of them that opens offline, reads on a phone and prints."""
import base64
import html
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from PIL import Image
from plotly.offline import get_plotlyjs

from ..figures.maps import data_uri

MARKS = re.compile(r"\\(?P<escaped>[!-/:-@\[-`{-~])|\*\*(?P<bold>.+?)\*\*|\*(?P<italic>(?:\\.|.)+?)\*|`(?P<code>.+?)`")
ROWS = 200  # a longer table is cut in the report, which says so; the CSV has it all
SHORT = 24  # rows of a table that is open from the beginning where there is no figure
LARGE = 8192  # bytes that are worth a loss: less a picture keeps every pixel as it is
SOURCE = re.compile(r'"data:image[^"]+"')  # of a picture in the JavaScript of a figure


@dataclass
class Section:
    """A heading with what stands under it: text, figure, table, and the script that gives the table's numbers.

    ``text`` is Markdown of paragraphs, **bold**, *italic* and `code`; see ``plain`` for what is put into it. In a
    report ``points`` are a list below it, and ``about``, how to read all this, stands below the figure; Markdown too.
    """

    title: str
    text: str = ""
    figure: go.Figure | None = None
    table: pd.DataFrame | None = None
    script: str = ""
    pictures: Sequence[tuple[str, np.ndarray]] = field(default_factory=list)  # name, (H, W, 3) uint8
    points: Sequence[str] = ()
    about: str = ""


def report(title: str, facts: Mapping[str, str], sections: Iterable[Section]) -> str:
    """One HTML document with everything in it: pictures, figures with their JavaScript, tables and scripts.

    Args:
        title: of the document.
        facts: what it was made with, a line each: model, device, versions.
        sections: in order.
    """
    parts: list[str] = []
    sources: dict[str, int] = {}
    for number, section in enumerate(sections, 1):
        parts.append(f"<section><h2>{html.escape(section.title)}</h2>")
        if section.text:
            parts.append(f"<p>{_html(section.text)}</p>")
        if section.points:
            parts.append("<ul>" + "".join(f"<li>{_html(point)}</li>" for point in section.points) + "</ul>")
        parts += [f'<figure class="picture"><img src="{_source(picture)}" alt="{html.escape(name)}">'
                  f"<figcaption>{html.escape(name)}</figcaption></figure>" for name, picture in section.pictures]
        if section.figure is not None:
            parts.append(_drawn(section.figure, section.title, f"figure-{number}", sources))
        if section.about:
            parts.append(f'<p class="about">{_html(section.about)}</p>')
        if section.table is not None:
            shown = section.table.head(ROWS)
            cut = f" (the first {ROWS:,})" if len(section.table) > ROWS else ""
            begin = ' class="short" open' if section.figure is None and len(section.table) <= SHORT else ""
            parts.append(f"<details{begin}><summary>Table, {len(section.table):,} rows{cut}</summary>"
                         + shown.to_html(index=False, border=0, float_format=lambda v: f"{v:.5g}") + "</details>")
        if section.script:
            parts.append("<details><summary>Reproduce this</summary><pre>" + html.escape(section.script)
                         + "</pre></details>")
        parts.append("</section>")
    head = [f"<h1>{html.escape(title)}</h1>", "<dl>"]
    head += [f"<dt>{html.escape(key)}</dt><dd>{html.escape(value)}</dd>" for key, value in facts.items()]
    return PAGE.format(title=html.escape(title), plotly=get_plotlyjs(), pictures=",".join(sources),
                       body="\n".join([*head, "</dl>", *parts]))


def _drawn(figure: go.Figure, title: str, name: str, sources: dict[str, int]) -> str:
    """A figure as HTML. A picture that stands in several panels is kept once, in ``sources``."""
    alt = html.escape((figure.layout.meta or {}).get("alt", title))
    drawn = go.Figure(figure).update_layout(template="plotly_white")
    for trace in drawn.data:  # seven digits are more than can be seen
        for key in {"x", "y", "z"} & {*trace}:
            if isinstance(trace[key], np.ndarray) and trace[key].dtype == np.float64:
                trace[key] = trace[key].astype(np.float32)
    code = drawn.to_html(full_html=False, include_plotlyjs=False, div_id=name,
                         config={"displaylogo": False, "responsive": True})
    code = SOURCE.sub(lambda found: f"PICTURES[{sources.setdefault(found[0], len(sources))}]", code)
    return f'<div class="chart" role="img" aria-label="{alt}">{code}</div>'


def _html(text: str) -> str:
    def mark(match: re.Match) -> str:
        for name, tag in (("bold", "strong"), ("italic", "em"), ("code", "code")):
            if match[name] is not None:
                return f"<{tag}>{MARKS.sub(mark, match[name])}</{tag}>"
        return match["escaped"]

    return MARKS.sub(mark, html.escape(text))


def _source(picture: np.ndarray) -> str:
    """A picture as it is, or where that saves much as a figure keeps it."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    exact = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
    smaller = data_uri(picture)
    return smaller if len(exact) - len(smaller) > LARGE else exact


PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light; }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 1200px; margin: 2rem auto; padding: 0 1rem; color: #222;
       background: #fff; overflow-wrap: anywhere; }}
h1, h2 {{ line-height: 1.2; }} h2 {{ margin-top: 2.5rem; }} p, ul {{ max-width: 80ch; }} li {{ margin: .3rem 0; }}
.about {{ color: #555; font-size: .875rem; }}
dl {{ display: grid; grid-template-columns: minmax(min-content, max-content) 1fr; gap: 0 1rem; }}
dt {{ font-weight: 600; overflow-wrap: normal; }} dd {{ margin: 0; }}
figure.picture {{ display: inline-block; margin: .5rem; width: 160px; vertical-align: top; font-size: .8rem; }}
figure.picture img {{ width: 160px; image-rendering: pixelated; }}
.chart, details {{ overflow-x: auto; }} details {{ margin: .5rem 0; }} summary {{ cursor: pointer; }}
table {{ border-collapse: collapse; font-size: .85rem; overflow-wrap: normal; }}
td, th {{ padding: .15rem .6rem; text-align: right; }}
tr:nth-child(even) {{ background: #f5f5f5; }} pre {{ background: #f5f5f5; padding: 1rem; overflow-x: auto; }}
@page {{ size: A4; margin: 12mm; }}
@media print {{
  body {{ max-width: none; margin: 0; padding: 0; font-size: 10pt; print-color-adjust: exact;
         -webkit-print-color-adjust: exact; }}
  h2, p:not(.about) {{ break-after: avoid; }} p, li, .chart, figure.picture, tr, .short {{ break-inside: avoid; }}
  .about {{ break-before: avoid; }} table {{ font-size: 8pt; }}
  .chart {{ overflow: visible; }} figure.picture, figure.picture img {{ width: 30mm; }}
  details:not([open]), .modebar {{ display: none; }} pre {{ white-space: pre-wrap; }}
}}
@media (hover: none) {{ .js-plotly-plot:not(:hover) .modebar {{ visibility: hidden; }} }}
</style>
<script>{plotly}</script>
<script>
const PICTURES = [{pictures}];
// charts as wide as an A4 page inside its margins, in CSS pixels, and none higher than it
const PAPER = {{width: 700, height: 1000}}, charts = () => document.querySelectorAll('.js-plotly-plot');
addEventListener('beforeprint', () => charts().forEach(chart => {{
  chart.fluid = !chart.layout.width;
  if (chart.fluid) Plotly.relayout(chart, {{width: PAPER.width}});
  const {{width, height}} = chart._fullLayout;
  chart.style.zoom = Math.min(1, PAPER.width / width, PAPER.height / height);
}}));
addEventListener('afterprint', () => charts().forEach(chart => {{
  chart.style.zoom = '';
  if (chart.fluid) Plotly.relayout(chart, {{width: null, autosize: true}});
}}));
// a finger that moves over a chart scrolls the page: Plotly would zoom, and a phone's window is filled by one chart
addEventListener('touchstart', event => {{
  if (event.target.closest('.draglayer')) event.stopPropagation();
}}, {{capture: true, passive: true}});
</script>
</head>
<body>
{body}
</body>
</html>
"""
