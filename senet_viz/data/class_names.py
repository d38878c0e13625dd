"""Class names as people read them: ImageNet's by their first synonym."""
from collections import Counter
from collections.abc import Sequence
from functools import cache

GLOSS = 40  # letters of a definition


def short_names(classes: Sequence[str]) -> list[str]:
    """Names to show: of ImageNet's lists of synonyms ("tench, Tinca tinca") the first, of all others the whole.

    Where first synonyms are the same but for case, the second stands in brackets ("maillot (tank suit)"), and where
    there is none the beginning of WordNet's definition ("crane (large long-necked wading bird)"), so far as the classes
    are those of ImageNet-1k. What is still the same has the class's index behind it, so that all are unique.

    Args:
        classes: K names.

    Returns:
        K names, all different.
    """
    known = _synonyms() if any("," in name for name in classes) else frozenset()
    parts = [[part.strip() for part in name.split(",")] if name in known else [name] for name in classes]
    names = [part[0] for part in parts]
    shared = Counter(name.casefold() for name in names)
    glosses = _glosses() if len(classes) == 1000 else {}
    for index, name in enumerate(names):
        if known and shared[name.casefold()] > 1:
            further = parts[index][1] if len(parts[index]) > 1 else glosses.get((index, classes[index]), "")
            names[index] = f"{name} ({further})" if further else name
    same = Counter(names)
    return [f"{name} [{index}]" if same[name] > 1 else name for index, name in enumerate(names)]


@cache
def _synonyms() -> frozenset[str]:
    """Every name that timm gives to a class of ImageNet."""
    from timm.data import ImageNetInfo
    return frozenset(info.index_to_description(index) for subset in ("imagenet-1k", "imagenet-22k")
                     for info in [ImageNetInfo(subset)] for index in range(info.num_classes()))


@cache
def _glosses() -> dict[tuple[int, str], str]:
    """(index, name) of a class of ImageNet-1k → how its definition begins."""
    from timm.data import ImageNetInfo
    info = ImageNetInfo("imagenet-1k")
    glosses = {}
    for index in range(info.num_classes()):
        name = info.index_to_description(index)
        words = info.index_to_description(index, detailed=True).removeprefix(f"{name}: ").partition(";")[0].split()
        gloss = ""
        while words and len(gloss) + len(words[0]) < GLOSS:
            gloss += f" {words.pop(0)}" if gloss else words.pop(0)
        glosses[index, name] = gloss + ("…" if words else "")
    return glosses
