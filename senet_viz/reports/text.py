"""Words for pages and reports."""
import re
from collections.abc import Iterable

MORE = 3  # digits that an end of an interval may have more than others, to show on which side of 0 it is
LONGEST = 400  # characters without a space; longer ones are of somebody who tries what happens


def plain(text: str) -> str:
    """Text that Markdown shows as it stands: the names of files are not ours, and may hold stars, dollars or links."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", shortened(text))  # what Markdown lets one escape: ASCII punctuation


def shortened(text: str) -> str:
    """Text whose words of more than 400 characters lack their middle: names in files and links are of any length.

    >>> len(shortened("a" * 5000 + " b"))
    403
    """
    half = LONGEST // 2
    return re.sub(rf"\S{{{LONGEST + 1},}}", lambda word: f"{word[0][:half]}…{word[0][-half:]}", text)


def file_name(model: str) -> str:
    """A model's name as the beginning of a file's: "timm/seresnet50.ra2_in1k" gives "seresnet50.ra2_in1k".

    Of a checkpoint, named "weights.pt (timm seresnet50)", the suffix is left out; what file systems may refuse is an
    underscore.
    """
    name = re.sub(r"\.(safetensors|pth?|ckpt|tar|bin)(?= \(|$)", "", model.rpartition("/")[2])
    return re.sub(r"[^\w.-]+", "_", name).strip("_.") or "model"


def number(count: int, one: str, many: str | None = None) -> str:
    """So many of something.

    >>> number(1, "picture"), number(2000, "class", "classes")
    ('1 picture', '2,000 classes')
    """
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"


def listed(parts: Iterable[object], word: str = "and") -> str:
    """Words or numbers as a list in a sentence; "" of none.

    >>> listed(["a", "b", "c"]), listed(["a", "b"], "or"), listed(["a"])
    ('a, b and c', 'a or b', 'a')
    """
    *first, last = [*map(str, parts)] or [""]
    return f"{', '.join(first)} {word} {last}" if first else last


def ends(low: float, high: float, digits: int, sign: str = "+") -> str:
    """An interval's ends in a sentence; one that is not 0 but would be written so has up to ``MORE`` more digits.

    >>> ends(-0.05, -0.0012, 2), ends(1, 2.25, 1, sign="")
    ('-0.05 to -0.001', '1.0 to 2.2')
    """
    def written(end: float) -> str:
        enough = next((count for count in range(digits, digits + MORE + 1) if round(end, count)), digits)
        return f"{end:{sign}z.{enough}f}"

    return f"{written(low)} to {written(high)}"
