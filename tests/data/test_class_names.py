"""Class names as people read them."""
from collections import Counter

import pytest
import torchvision
from timm.data import ImageNetInfo

from senet_viz.data.class_names import short_names, wordnet_ids


@pytest.fixture(scope="module")
def imagenet() -> list[str]:
    info = ImageNetInfo("imagenet-1k")
    return [info.index_to_description(index) for index in range(1000)]


def test_imagenets_names_are_their_first_synonyms_and_all_different(imagenet):
    names = short_names(imagenet)
    assert names[0] == "tench" and names[1] == "goldfish" and max(map(len, names)) < 60
    assert len(set(names)) == 1000
    first = [name.split(",")[0] for name in imagenet]
    counts = Counter(name.casefold() for name in first)
    for short, begin in zip(names, first):
        assert (short == begin) == (counts[begin.casefold()] == 1) and short.startswith(begin)


def test_equal_first_synonyms_are_told_apart(imagenet):
    names = short_names(imagenet)
    assert names[639] == "maillot (tank suit)" and names[638].startswith("maillot (tights")
    assert names[134].startswith("crane (large long-necked") and names[517].startswith("crane (lifts")
    assert names[264] == "Cardigan (Cardigan Welsh corgi)" and names[474].startswith("cardigan (knitted")


def test_names_of_other_data_stay_whole(imagenet):
    own = ["Smith, John", "Smith, Jane", "cat", "cat", imagenet[0]]
    assert short_names(own) == ["Smith, John", "Smith, Jane", "cat [2]", "cat [3]", "tench"]
    assert short_names([]) == []


def test_torchvisions_names_stay():
    theirs = torchvision.models.get_model_weights("resnet18").DEFAULT.meta["categories"]
    assert short_names(theirs) == theirs


@pytest.fixture(scope="module")
def ids() -> list[str]:
    info = ImageNetInfo("imagenet-1k")
    return [info.index_to_label_name(index) for index in range(1000)]


def test_wordnet_ids_of_all_of_imagenet(imagenet, ids):
    """By the place: both cranes are there, and torchvision calls the bird "crane bird"."""
    theirs = torchvision.models.get_model_weights("resnet18").DEFAULT.meta["categories"]
    assert "crane bird" in theirs and imagenet.count("crane") == 2
    for names in (imagenet, theirs, short_names(imagenet), ids):
        assert wordnet_ids(names) == ids


def test_wordnet_ids_of_names_in_imagenets_order(imagenet, ids):
    """A lemon is one thing in ImageNet-1k, and a tree and a colour beyond; a crane is two, and never told by name."""
    some = [1, 71, 134, 207, 340, 388, 545, 609, 673, 717, 950, 951, 954]
    names = [imagenet[index].split(",")[0] for index in some]
    assert {"crane", "mouse", "lemon"} <= {*names}
    assert wordnet_ids(names) == ["" if name == "crane" else ids[index] for index, name in zip(some, names)]
    backwards = dict(zip(names[::-1], wordnet_ids(names[::-1])))
    assert backwards["mouse"] == backwards["lemon"] == backwards["crane"] == ""
    assert backwards["goldfish"] == "n01443537" and not any(
        wnid for wnid in wordnet_ids(["mouse", "lemon"]))  # a rodent and a tree, for all that is known


def test_wordnet_ids_that_names_say():
    names = ["n02012849", "crane [n03126707]", "goldfish, Carassius auratus", "GOLDFISH", "crane", "Smith, John", ""]
    assert wordnet_ids(names) == ["n02012849", "n03126707", "n01443537", "n01443537", "", "", ""]
