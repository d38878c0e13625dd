"""One logit as two classes: probabilities and gradients against the network's own."""
import pytest
import torch
from torch import nn
from torchvision import transforms

import senet_viz as sv
from senet_viz.layers import SqueezeExcite
from senet_viz.models import for_and_against

FORMS = {  # z (N, 1) and maps → what the network returns, and how the model finds z in it
    "(N, 1)": (lambda z, _: z, None), "(N,)": (lambda z, _: z[:, 0], None),
    "squeezed": (lambda z, _: z.squeeze(), None),
    "second": (lambda z, maps: (maps, z), None), "by name": (lambda z, maps: {"logits": z, "maps": maps}, None),
    "by output": (lambda z, maps: {"a": maps, "b": z}, lambda returned: returned["b"])}


class Net(nn.Module):
    def __init__(self, form):
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.se, self.head = nn.Conv2d(3, 8, 3, 2, 1), SqueezeExcite(8), nn.Conv2d(8, 1, 1)
        self.form = form

    def forward(self, x):
        maps = self.head(self.se(self.stem(x).relu()))
        return self.form(7 * maps.mean((2, 3)), maps)


def model(form: str, classes=("smiling",)) -> sv.Model:
    made, output = FORMS[form]
    transform = transforms.Compose([transforms.Resize((16, 16)), transforms.ToTensor()])
    return sv.Model(Net(made), transform, classes, output=output)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("pictures", [1, 3])
def test_the_softmax_of_both_sides_is_the_sigmoid(form, pictures):
    own = model(form)
    both, batch = for_and_against(own), torch.rand(pictures, 3, 16, 16)
    z = sv.record(model("(N, 1)"), batch).logits
    view = sv.inspect(both, batch, [0, 1], ["se"])
    torch.testing.assert_close(view.logits, torch.cat([-z, z], 1) / 2)
    torch.testing.assert_close(view.logits.softmax(1)[:, 1:], z.sigmoid())
    expected = sv.inspect(model("(N, 1)"), batch, [sv.BinaryClassifierOutputTarget(0),
                                                   sv.BinaryClassifierOutputTarget(1)], ["se"])
    torch.testing.assert_close(2 * view.weights["se"], expected.weights["se"])
    assert view.weights["se"].abs().max() > 0
    assert own.output is FORMS[form][1]
    assert own.classes == ["smiling"]


def test_it_is_a_classification_of_two():
    own = model("squeezed")
    assert own.answer.binary
    assert own.class_labels == ["smiling"]
    both = for_and_against(own)
    assert not both.answer.binary
    assert both.class_labels == both.classes == ["against smiling", "for smiling"]
    assert (both.module, both.name, both.blocks) == (own.module, own.name, own.blocks)
    assert for_and_against(model("(N,)", ["cat", "dog"])).classes == ["cat", "dog"]
    assert for_and_against(model("(N,)", [])).classes == ["against", "for"]
