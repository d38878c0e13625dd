"""Photos with maps over them, as PNG files."""
import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

LONGEST = 32  # characters of a name in a file's


def blocks_named(model, patterns: Sequence[str]) -> list:
    """The attention blocks that labels or patterns such as SE_5_* name, in network order.

    Raises:
        ValueError: one sentence, for a pattern that fits none, and for a block whose output no module gives.
    """
    for pattern in patterns:
        if not any(fnmatchcase(block.label, pattern) for block in model.blocks):
            raise ValueError(f"{model.name} has no attention block {pattern!r}; its are: "
                             f"{', '.join(block.label for block in model.blocks) or 'none'}.")
    found = [block for block in model.blocks if any(fnmatchcase(block.label, pattern) for pattern in patterns)]
    for block in found:
        if not block.has_output:
            raise ValueError(f"No module gives what the gate of {block.label} leaves, so there is no point at which to "
                             f"weigh it.")
    return found


def beginnings(photos: Sequence[str]) -> dict[str, str]:
    """Photos → what the names of their files begin with, all different."""
    found: dict[str, str] = {}
    for photo in dict.fromkeys(photos):
        name, number = _plain(Path(photo).stem), 1
        while (taken := name if number == 1 else f"{name}_{number}") in found.values():
            number += 1
        found[photo] = taken
    return found


def write_overlays(folder: str, beginning: str, view, image, model, label: str, blocks: Sequence, *, opacity: float,
                   smooth: bool) -> list[dict]:
    """One photo with its maps: Grad-CAM at each stage, and what each block's gate changed.

    Args:
        folder: made where it is missing.
        beginning: of the files' names.
        view: of the photo, explaining one class at the stages and at the blocks' outputs, with the features of
            ``senet_viz.gates.contribution_points(blocks)``.
        image: the photo.
        model: an ``sv.Model``.
        label: of the class.
        blocks: attention blocks.
        opacity, smooth: of the maps.

    Returns:
        A row a file: map, class, file, box and seen, the share of the photo that the box has.
    """
    from .. import tables
    from ..data.files import replacing
    from ..experiments.overlays import on_photo

    box = model.window(image.size)
    maps = {stage: layer for stage, layer in model.stages.items() if layer in view.cams}
    for block in blocks:
        before, after = tables.gate_change(view, block)
        maps[f"{block.label} change"] = after - before
    inside = [min(high, side) - max(low, 0) for low, high, side in zip(box[:2], box[2:], image.size)]
    rows = []
    for name, point in maps.items():
        path = Path(folder, f"{beginning}_{_plain(name)}_{_plain(label)}.png")
        drawn = on_photo(view, image, point, picture=0, box=box, opacity=opacity, smooth=smooth)
        with replacing(path) as part:
            drawn.save(part, "PNG", compress_level=3)  # twice as quick as the usual 6, and hardly larger
        rows.append({"map": name, "class": label, "file": str(path), "box": list(box),
                     "seen": inside[0] * inside[1] / (image.width * image.height)})
    return rows


def _plain(name: str) -> str:
    """A name as part of a file's: what file systems may refuse is an underscore."""
    return re.sub(r"[^\w.-]+", "_", name)[:LONGEST].strip("_.") or "photo"
