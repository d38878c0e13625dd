"""Class names as people read them."""
from collections import Counter

import pytest
import torchvision
from timm.data import ImageNetInfo

from senet_viz.data.class_names import short_names


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
