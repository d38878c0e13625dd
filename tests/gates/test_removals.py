"""What takes a block's say away, also where branches have equal kernels and a kernel's name says too little."""
import dataclasses

import pytest
import torch
from torch import nn

from senet_viz.collecting import each_block, each_stage, evaluate
from senet_viz.data.datasets import Pictures
from senet_viz.experiments import what_if
from senet_viz.gates import Edit, EditError, inspect
from senet_viz.gates.removals import branch_values, no_attention, removals
from senet_viz.models import Model
from tests.app.checks import png
from tests.gates.test_search import C, SKInUnit
from tests.gates.test_search import Net as InlineNet

NAMES = [f"class {i}" for i in range(10)]


class Twins(SKInUnit):
    """Two branches of 3×3."""

    def __init__(self):
        super().__init__()
        self.sk.five = nn.Conv2d(C, C, 3, padding=1)


@pytest.fixture
def twins() -> Model:
    torch.manual_seed(0)
    module = InlineNet(Twins)
    classes = module.eval()(torch.randn(1, 3, 64, 64)).shape[1]
    from torchvision.transforms import v2
    return Model(module, v2.Compose([v2.Resize((64, 64)), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]),
                 NAMES[:classes], name="twins")


def test_equal_kernels_are_named_by_their_branch(twins):
    assert [block.kernels for block in twins.blocks] == [(3, 3), (3, 3)]
    values = ["branch 0", "branch 1", "uniform"]
    assert removals(twins.blocks[0]) == values and branch_values(twins.blocks[0]) == values[:2]
    labels = [block.label for block in twins.blocks]
    assert each_block(twins) == [f"{label}={value}" for label in labels for value in values]
    stages = each_stage(twins)
    assert len(set(stages)) == len(stages) and stages[-3:] == [f"*={value}" for value in values]


def test_an_edit_of_an_ambiguous_kernel_is_refused(twins):
    """It once added both branches up."""
    batch = torch.randn(1, 3, 64, 64)
    with pytest.raises(EditError, match=r"^SK_\w+=3x3: 2 branches of SK_\w+ have the kernel 3x3; one is named by its "
                                        r"number, from 'branch 0' to 'branch 1'$"):
        inspect(twins, batch, edits=[Edit(twins.blocks[0].label, "3x3")])
    for branch in range(2):
        gates = inspect(twins, batch, edits=[Edit("*", f"branch {branch}")]).gates
        for gate in gates.values():
            assert (gate.sum(1) == 1).all() and (gate[:, branch] == 1).all()


def test_a_kernel_that_only_one_branch_has_is_none_of_it(twins):
    block = dataclasses.replace(twins.blocks[0], branches=3, kernels=(3, 5, 3))
    Edit("*", "5x5").check(block)
    with pytest.raises(EditError, match="2 branches of"):
        Edit("*", "3x3").check(block)
    assert branch_values(block) == ["branch 0", "branch 1", "branch 2"]


def test_such_a_network_is_evaluated_and_tried(twins):
    table = evaluate(twins, Pictures(png, [0, 1, 0, 1], twins.classes), edits=each_block(twins), workers=0,
                     progress=False)
    assert table["edit"].tolist() == ["unedited", *each_block(twins)]
    tried = what_if.each_block(twins, torch.randn(1, 3, 64, 64))
    assert tried["edit"].tolist() == ["branch 0", "branch 1", "uniform"] * 2


def test_evaluate_and_experiments_switch_off_alike(twins):
    """The rule once stood twice."""
    block = twins.blocks[0]
    for each in (block, dataclasses.replace(block, kernels=(3, 5)), dataclasses.replace(block, kernels=None),
                 dataclasses.replace(block, branches=1, gain=2.0)):
        model = Model(twins.module, twins.transform, twins.classes)
        model.__dict__["blocks"] = [each]
        assert each_block(model) == [f"{each.label}={value}" for value in removals(each)]


def test_without_attention_a_gate_and_what_follows_it_leave_the_map(twins):
    blocks = [dataclasses.replace(block, branches=1, kernels=None) for block in twins.blocks]
    followed = [dataclasses.replace(block, gain=2.0) for block in blocks]
    assert (no_attention(blocks), no_attention(followed), no_attention([])) == ("1", "0.5", "1")
    assert removals(followed[0]) == ["0.5"]
    with pytest.raises(ValueError, match=r"^the blocks are followed by different factors \(1, 2\), so no value alone"):
        no_attention([blocks[0], followed[0]])
