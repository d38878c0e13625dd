"""Short scripts over several collected runs."""
from collections.abc import Mapping


def of_runs(paths: Mapping[str, str], ending: str, modules: str) -> str:
    """A script over several collected runs.

    Args:
        paths: name → folder.
        ending: the lines that make ``result`` from ``runs``, name → statistics.
        modules: of ``senet_viz.statistics`` that they use, with commas between.
    """
    listed = "".join(f"    {name!r}: sv.open_statistics({path!r}),\n" for name, path in paths.items())
    return f"""\
import senet_viz as sv
from senet_viz.statistics import {modules}

runs = {{
{listed}}}
{ending}
print(result)
"""
