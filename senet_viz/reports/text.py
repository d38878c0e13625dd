"""Words for pages and reports."""
import re


def plain(text: str) -> str:
    """Text that Markdown shows as it stands: the names of files are not ours, and may hold stars, dollars or links."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", text)  # what Markdown lets one escape: ASCII punctuation


def file_name(model: str) -> str:
    """A model's name as the beginning of a file's: "timm/seresnet50.ra2_in1k" gives "seresnet50.ra2_in1k".

    Of a checkpoint, named "weights.pt (timm seresnet50)", the suffix is left out; what file systems may refuse is an
    underscore.
    """
    name = re.sub(r"\.(safetensors|pth?|ckpt|tar|bin)(?= \(|$)", "", model.rpartition("/")[2])
    return re.sub(r"[^\w.-]+", "_", name).strip("_.") or "model"
