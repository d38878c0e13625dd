"""What public attention classes are called."""
import importlib

import pytest
import timm.layers.squeeze_excite
import timm.models._efficientnet_blocks
import timm.models.senet
from torch import nn

from senet_viz.gates.kinds import KINDS, kind_of


@pytest.mark.parametrize("key", KINDS)
def test_the_classes_exist(key):
    module, _, name = key.partition(":")
    cls = getattr(importlib.import_module(module), name)
    assert (cls.__module__, cls.__qualname__) == (module, name)


def test_unknown_classes_are_named_by_their_form():
    assert kind_of(nn.Conv2d(1, 1, 1), "SK") == "SK"


def test_a_subclass_is_what_it_derives_from():
    class Mine(timm.layers.squeeze_excite.EffectiveSEModule):
        pass

    class MineAgain(Mine):
        pass

    assert kind_of(MineAgain(16), "SE") == "eSE"


def test_a_name_alone_says_nothing():
    class EffectiveSEModule(nn.Module):
        pass

    assert kind_of(EffectiveSEModule(), "SE") == "SE"


def test_an_entry_of_its_own_wins_over_the_one_it_derives_from(monkeypatch):
    class Mine(timm.layers.squeeze_excite.EffectiveSEModule):
        pass

    monkeypatch.setitem(KINDS, f"{Mine.__module__}:{Mine.__qualname__}", "Mine")
    assert kind_of(Mine(16), "SE") == "Mine"
