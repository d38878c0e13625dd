"""What an object shows of itself in a notebook: a title, facts and a table, as HTML."""
import html
from collections.abc import Sequence

import pandas as pd

ROWS = 20  # of a longer table the first and the last ten are shown


def summary(title: str, facts: Sequence[str], table: pd.DataFrame, note: str = "") -> str:
    """HTML of a summary, in the colours of the page that it stands on.

    Args:
        title: text, as are all others; what is HTML in them is shown as it stands.
        facts: in a line below the title.
        table: numbers with three decimals, nan as a dash. No table where it has no rows.
        note: below the table.
    """
    lines = [f"<b>{html.escape(title)}</b>", *map(html.escape, filter(None, [" · ".join(facts)]))]
    shown = "" if table.empty else table.to_html(
        index=False, border=0, max_rows=ROWS, na_rep="–", float_format=lambda value: f"{value:.3f}")
    ending = f"<p>{html.escape(note)}</p>" if note else ""
    return f"<div><p>{'<br/>'.join(lines)}</p>{shown}{ending}</div>"
