"""Short scripts of experiments with gates: of one picture, and of one as it is and with edits."""
from .scripts import edits as edits_lines

IMPORT = "from senet_viz.experiments import what_if"


def experiment(loading: str, path: str, call: str, lines: str = "", imports: str = IMPORT) -> str:
    """A script of an experiment that makes its own edits.

    Args:
        loading: the line that makes ``model``.
        path: of the picture.
        call: what gives the table, of ``model`` and ``batch``: "what_if.each_block(model, batch, 3)".
        lines: further ones before it.
        imports: the line of imports besides ``senet_viz``.
    """
    return f"""\
import senet_viz as sv
{imports}

{loading}
batch = model.batch([sv.open_image({path!r})])
{lines + chr(10) if lines else ''}result = {call}
print(result)
"""


def before_and_after(loading: str, path: str, call: str, names: tuple[str, str], text: str = "", statistics: str = "",
                     photo: str = "", inspect: str = "", imports: str = IMPORT) -> str:
    """A script over ``views`` of one picture: as it is and, where there are edits, edited.

    Args:
        loading, path, imports: as of ``experiment``.
        call: what gives the table, of ``model``, ``views`` and ``edits``.
        names: of the two views.
        text, statistics, photo: of the edits, as of ``scripts.edits``; without text there is only the first view.
        inspect: further arguments of ``sv.inspect``.
    """
    more = f", {inspect}" if inspect else ""
    lines = [f"views = {{{names[0]!r}: sv.inspect(model, batch{more})}}"]
    if text:
        lines += [edits_lines(text, statistics, photo),
                  f"views[{names[1]!r}] = sv.inspect(model, batch{more}, edits=edits)"]
    return experiment(loading, path, call, "\n".join(lines), imports)


def of_evaluation(path: str) -> str:
    """A script that opens an evaluation over a data set, of this folder."""
    return f"from senet_viz.collecting import open_evaluation\n\nresult = open_evaluation({path!r})\nprint(result)\n"


def static_or_dynamic(loading: str, path: str, level: str) -> str:
    """A script of ``over_data.static_or_dynamic`` at a level.

    Args:
        loading: the line that makes ``model``.
        path: of the evaluation's folder.
        level: "stage" or "block".
    """
    return f"""\
import senet_viz as sv
from senet_viz.collecting import open_evaluation
from senet_viz.experiments import over_data

{loading}
table = over_data.static_or_dynamic(open_evaluation({path!r}), model.blocks, {path!r})
result = table[table["level"] == {level!r}]
print(result)
"""


def removal(path: str) -> str:
    """A script of ``senet_viz.experiments.removal.removal_curve`` of an evaluation in this folder."""
    return f"""\
from senet_viz.collecting import open_evaluation
from senet_viz.experiments.removal import removal_curve

result = removal_curve(open_evaluation({path!r}))
print(result)
"""


def channel_effects(loading: str, path: str, statistics: str) -> str:
    """A script of ``senet_viz.experiments.selectivity.channel_effects``.

    Args:
        loading: the line that makes ``model``.
        path: of the evaluation's folder.
        statistics: of the statistics' folder.
    """
    return f"""\
import senet_viz as sv
from senet_viz.experiments.selectivity import channel_effects

{loading}
result = channel_effects({path!r}, sv.open_statistics({statistics!r}), model.classes)
print(result)
"""
