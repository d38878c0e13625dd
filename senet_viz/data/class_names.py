"""Class names as people read them, ImageNet's by their first synonym; and which of WordNet's classes names mean."""
import re
from collections import Counter, defaultdict
from collections.abc import Sequence, Set
from functools import cache

GLOSS = 40  # letters of a definition
IN_ORDER = 10  # so many names are in ImageNet's order by chance once in 10! = 3,628,800 times


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


def wordnet_ids(classes: Sequence[str]) -> list[str]:
    """The WordNet id of each class, "" where it cannot be told for sure.

    It is told by a name that is an id, or ends with one in brackets; by one that no other class of ImageNet-22k bears,
    alone or among its synonyms ("goldfish"); and where the names run through ImageNet-1k in its order, by one that no
    other class of that bears ("lemon", which is also a tree), and of all 1,000 by the place ("crane", a bird and a
    machine).

    Args:
        classes: K names.

    Returns:
        K ids, such as "n01443537", or "".
    """
    ids, bearers = _imagenet(), _bearers()
    found = [bearers.get(name.strip().casefold(), frozenset()) for name in classes]
    told, within = [_only(each) for each in found], [_only(each & ids.keys()) for each in found]
    indices = [ids[wnid] for wnid in within if wnid]
    if len(indices) >= IN_ORDER and indices == sorted(set(indices)):
        whole = len(classes) == len(ids) and all(wnid in ("", own) for wnid, own in zip(within, ids))
        told = list(ids) if whole else [wnid or other for wnid, other in zip(within, told)]
    said = [re.search(r"(?:^|\[)(n\d{8})\]?$", name) for name in classes]
    return [match[1] if match else wnid for match, wnid in zip(said, told)]


def _only(ids: Set[str]) -> str:
    return next(iter(ids)) if len(ids) == 1 else ""


@cache
def _imagenet() -> dict[str, int]:
    """WordNet id of a class of ImageNet-1k → its index, in their order."""
    from timm.data import ImageNetInfo
    info = ImageNetInfo("imagenet-1k")
    return {info.index_to_label_name(index): index for index in range(info.num_classes())}


@cache
def _bearers() -> dict[str, frozenset[str]]:
    """A name in small letters, one synonym or all of them → the WordNet ids of the classes of ImageNet that bear it."""
    from timm.data import ImageNetInfo
    found = defaultdict(set)
    for info in map(ImageNetInfo, ("imagenet-1k", "imagenet-22k")):
        for index in range(info.num_classes()):
            name = info.index_to_description(index).casefold()
            for each in (name, *map(str.strip, name.split(","))):
                found[each].add(info.index_to_label_name(index))
    return {name: frozenset(ids) for name, ids in found.items()}


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
