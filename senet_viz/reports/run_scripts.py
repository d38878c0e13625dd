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


def on_photos(loading: Mapping[str, str], pictures: Mapping[str, str], ending: str) -> str:
    """A script over several networks on the same photos.

    Args:
        loading: name → the lines that make ``model``.
        pictures: name → path.
        ending: an expression of ``compare`` and ``views``, network → photo → view.
    """
    loaded = "".join(f"{lines}\nmodels[{name!r}] = model\n" for name, lines in loading.items())
    listed = "".join(f"    {name!r}: {path!r},\n" for name, path in pictures.items())
    return f"""\
import senet_viz as sv
from senet_viz.experiments import compare

models = {{}}
{loaded}pictures = {{
{listed}}}
views = {{
    name: {{photo: sv.record(model, model.batch([sv.open_image(path)])) for photo, path in pictures.items()}}
    for name, model in models.items()}}
result = {ending}
print(result)
"""


def of_evaluations(paths: Mapping[str, str]) -> str:
    """A script of ``senet_viz.experiments.compare.static_gates`` over the runs in these folders."""
    return of_runs(
        paths, "found = evaluations_of(runs)\n"
        "result = compare.static_gates({name: (table, runs[name].blocks) for name, table in found.items()})",
        "comparison").replace("from senet_viz.statistics import comparison\n",
                              "from senet_viz.collecting.beside import evaluations_of\n"
                              "from senet_viz.experiments import compare\n")
