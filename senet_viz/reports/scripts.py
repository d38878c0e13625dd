"""Short scripts, beside each figure, that give its numbers with the library's public names.

Each ends by putting the figure's table into ``result`` and printing it.
"""
from collections.abc import Mapping, Sequence


def script(loading: str, pictures: Mapping[str, str], ending: str, *, inspect: str = "", imports: str = "") -> str:
    """A whole script.

    Args:
        loading: the line that makes ``model``.
        pictures: name → path.
        ending: the lines that make ``result`` from ``model`` and ``views``.
        inspect: further arguments of ``sv.inspect``.
        imports: a line of further imports.
    """
    listed = "".join(f"    {name!r}: {path!r},\n" for name, path in pictures.items())
    return f"""\
import senet_viz as sv
from senet_viz import tables
{imports + chr(10) if imports else ''}
{loading}
pictures = {{
{listed}}}
views = {{}}
for name, path in pictures.items():
    batch = model.batch([sv.open_image(path)])
    views[name] = sv.inspect(model, batch{', ' + inspect if inspect else ''})

{ending}
print(result)
"""


def load_model(name: str, device: str, *, arch: str | None = None, ignore_unexpected: bool = False,
               binary: bool = False) -> str:
    """The lines that make ``model`` from a name.

    Args:
        name, device, arch, ignore_unexpected: as of ``senet_viz.load``.
        binary: turn its one logit into two, for and against.
    """
    options = f", arch={arch!r}" if arch else ""
    options += ", ignore_unexpected=True" if ignore_unexpected else ""
    code = f"model = sv.load({name!r}{options}, device={device!r})"
    return for_and_against(code) if binary else code


def for_and_against(loading: str) -> str:
    """The lines that make ``model``, and turn its one logit into two."""
    return f"from senet_viz.models import for_and_against\n{loading}\nmodel = for_and_against(model)"


def over_data(path: str, ending: str, module: str = "summaries") -> str:
    """A script over collected statistics.

    Args:
        path: their folder.
        ending: an expression that gives the table.
        module: of ``senet_viz.statistics`` that the expression uses.
    """
    return f"""\
import senet_viz as sv
from senet_viz.statistics import {module}

stats = sv.open_statistics({path!r})
result = {ending}
print(result)
"""


def of_sweep(loading: str, path: str, box: tuple | None, ending: str, *, functions: str = "", options: str = "") -> str:
    """A script over one picture at many sizes.

    Args:
        loading: the line that makes ``model``.
        path: of the picture.
        box: around its object.
        ending: the lines that make ``result`` from ``swept``.
        functions: of ``senet_viz.experiments.sweep`` that they use, with commas between.
        options: further arguments of ``sweep``.
    """
    names = ", ".join(filter(None, [functions, "sweep"]))
    return f"""\
import senet_viz as sv
from senet_viz import tables
from senet_viz.experiments.sweep import {names}

{loading}
swept = sweep(model, sv.open_image({path!r}), box={box!r}{', ' + options if options else ''})
{ending}
print(result)
"""


def of_block(loading: str, path: str, module: str, ending: str) -> str:
    """A script over one attention block of one picture.

    Args:
        loading: the line that makes ``model``.
        path: of the picture.
        module: of ``senet_viz``, "anatomy" or "variants"; several with commas between.
        ending: the lines that make ``result`` from ``model`` and ``batch``.
    """
    return f"""\
import senet_viz as sv
from senet_viz.experiments import {module}

{loading}
batch = model.batch([sv.open_image({path!r})])
{ending}
print(result)
"""


def edits(text: str, statistics: str = "", photo: str = "") -> str:
    """The lines that make ``edits`` for ``model``.

    Args:
        text: of the edits.
        statistics: folder of those that "mean" and "rank k" stand for, "" where they do not occur.
        photo: path of the picture that "photo" stands for, "" where it does not occur.
    """
    lines, words = [], ""
    if statistics:
        lines.append(f"stats = sv.open_statistics({statistics!r})")
        if "mean" in text:
            lines.append("mean = {block.name: stats.overall_mean(block) for block in stats.blocks}")
            words += ", mean=mean"
        if "rank" in text:
            words += ", rank=stats.rank"
    if photo:
        lines.append(f"photo = sv.record(model, model.batch([sv.open_image({photo!r})])).gates")
        words += ", photo=photo"
    return "\n".join([*lines, f"edits = sv.parse_edits({text!r}{words})"])


def of_cost(ending: str) -> str:
    """A script over what attention costs.

    Args:
        ending: an expression that gives the table.
    """
    return f"from senet_viz.experiments import cost\n\nresult = {ending}\nprint(result)\n"


def find_block(label: str) -> str:
    """The line that picks a block by its label."""
    return f"block = next(block for block in model.blocks if block.label == {label!r})"


ATTRIBUTE_IMPORT = "from senet_viz.experiments.attribution import attribute"
TARGET_IMPORT = "from senet_viz.gates.answers import target_of"
CONTRIBUTION_IMPORT = "from senet_viz.gates import contribution_points"
CONTRIBUTION_FEATURES = "features=contribution_points(model.blocks)"
PREDICTIONS = "result = tables.predictions(views, model.classes)"
CLASS_SHARES = "result = tables.class_shares(views, model.classes)"
SUMMARY = "result = tables.summary(views)"
KERNELS = "result = tables.kernel_preference(views)"
CONTRIBUTIONS = "result = tables.contributions(views)"


def gates(label: str) -> str:
    """The gate of one block."""
    return f"{find_block(label)}\nresult = tables.gates(views, block)"


def kernel_difference(label: str) -> str:
    """The largest kernel's weight minus the smallest's, channel by channel, of one unit."""
    return f"{find_block(label)}\nresult = tables.kernel_difference(views, block)"


def channel_maps(label: str, channel: int, titles: Sequence[str]) -> str:
    """One channel before and after the gate."""
    return (f"{find_block(label)}\n"
            f"result = tables.cells({{name: dict(zip({list(titles)!r}, tables.channel_maps(view, block, {channel})))\n"
            "                       for name, view in views.items()})")


def opinion(name: str, target: int, method: str, *, pixels: bool = False) -> str:
    """Occlusion or integrated gradients of one picture; ``pixels`` as of ``cams``."""
    wanted = f"target_of(views[{name!r}], {target})" if pixels else target
    return (f"image = model.transform(sv.open_image(pictures[{name!r}]))\n"
            f"values = attribute(model, image, {wanted}, {method!r})\n"
            f"result = tables.cells({{{name!r}: {{{method!r}: values.cpu().numpy()}}}})")


def differences(first: str, second: str, top: int) -> str:
    """The channels that differ most between two pictures."""
    return f"result = tables.differences(views[{first!r}], views[{second!r}], top={top})"


def cams(layers: Mapping[str, str], targets: Mapping[str, int], *, pixels: bool = False) -> tuple[str, str]:
    """Grad-CAM: the ending, and the arguments of ``sv.inspect``.

    Args:
        layers: name → layer.
        targets: picture's name → class.
        pixels: of a segmentation's class, over its own pixels.
    """
    ending = (f"layers = {dict(layers)!r}\n"
              "result = tables.cells({name: {stage: view.cams[layer][0, 0].cpu().numpy() for stage, layer in "
              "layers.items()}\n                       for name, view in views.items()})")
    return ending, f"targets=[{_target(targets, pixels)}], layers={list(layers.values())!r}"


def gate_change(label: str, targets: Mapping[str, int], names: tuple[str, str], *, pixels: bool = False
                ) -> tuple[str, str]:
    """Σ α·U and Σ α·s·U: the ending, and the arguments of ``sv.inspect``; ``pixels`` as of ``cams``."""
    ending = (f"{find_block(label)}\n"
              f"result = tables.cells({{name: dict(zip({names!r}, tables.gate_change(view, block)))\n"
              "                       for name, view in views.items()})")
    return ending, (f"targets=[{_target(targets, pixels)}], layers=[({label!r}, \"output\")],\n"
                    "                             features=contribution_points(model.blocks)")


def _target(targets: Mapping[str, int], pixels: bool) -> str:
    index = f"{dict(targets)!r}[name]"
    return f"sv.SemanticSegmentationTarget({index})" if pixels else index
