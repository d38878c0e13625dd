"""What networks return, and what of it is explained; compared with gradients taken by hand."""
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from senet_viz.gates import (
    BinaryClassifierOutputTarget,
    FasterRCNNBoxScoreTarget,
    SemanticSegmentationTarget,
    SimilarityToConceptTarget,
    inspect,
    record,
)
from senet_viz.gates.targets import logits_of, numbers_of, scores_of
from senet_viz.layers import SqueezeExcite
from senet_viz.models import Model

K = 5
LOGITS, MAP = torch.randn(2, K), torch.randn(2, K, 4, 4)


class Net(nn.Module):
    """A stem, a gate, a head; ``form`` makes of the logits (N, K) and the map (N, 16, h, w) what it returns."""

    def __init__(self, form):
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.se, self.head = nn.Conv2d(3, 16, 3, 2, 1), SqueezeExcite(16), nn.Conv2d(16, K, 1)
        self.form = form
        self.eval()

    def forward(self, x):
        maps = self.head(self.se(self.stem(x)).relu())
        return self.form(maps.mean((2, 3)), maps)


@pytest.mark.parametrize("output", [
    LOGITS, (LOGITS, MAP), (MAP, LOGITS), [LOGITS, LOGITS + 1], {"logits": LOGITS, "aux": LOGITS + 1}, {"out": LOGITS},
    {"pred": LOGITS}, {"anything": LOGITS}, SimpleNamespace(logits=LOGITS),
], ids=["tensor", "first", "second", "two heads", "logits", "out", "pred", "one value", "attribute"])
def test_where_logits_lie(output):
    assert logits_of(output, 2) is LOGITS


@pytest.mark.parametrize("output", [
    MAP, {"out": MAP}, {"one": LOGITS, "other": LOGITS}, (), None, torch.tensor(1.0), LOGITS[:, :, None], LOGITS[:1],
    [{"boxes": torch.rand(2, 4), "scores": torch.rand(2)}] * 2,
], ids=["map", "map by name", "two values", "nothing", "none", "a number", "3-D", "other pictures", "detections"])
def test_no_logits(output):
    with pytest.raises(ValueError, match=r"the network returns no logits of shape \(N, classes\)"):
        logits_of(output, 2)


@pytest.mark.parametrize(("output", "pick", "wanted"), [
    ((MAP, LOGITS), None, [LOGITS]), ({"a": {"b": LOGITS}, "c": MAP}, lambda output: output["a"]["b"], [LOGITS]),
    ({"a": {"b": LOGITS}, "c": MAP}, None, [LOGITS, MAP]), ([MAP], None, [MAP]),
    (SimpleNamespace(out=MAP), None, [MAP]), (None, None, []),
    ([{"boxes": MAP, "labels": MAP.argmax(1), "scores": LOGITS[:0]}, "text", None, 1.0], None, [MAP])],
    ids=["logits", "picked", "nested", "list of maps", "attribute", "nothing", "detections"])
def test_numbers_to_compare(output, pick, wanted):
    found = numbers_of(output, 2, pick)
    assert len(found) == len(wanted) and all(map(torch.equal, found, wanted))


def test_squeezed_outputs():
    """(K,) of one picture; of several a single number each."""
    assert torch.equal(logits_of(LOGITS[0], 1), LOGITS[:1])
    assert torch.equal(logits_of(LOGITS[:, 0], 2), LOGITS[:, :1])
    batch = torch.rand(2, 3, 16, 16)
    squeezed, plain = Net(lambda logits, _: logits.squeeze()), Net(lambda logits, _: logits)
    for n in (1, 2):
        view, expected = inspect(squeezed, batch[:n], [3], ["se"]), inspect(plain, batch[:n], [3], ["se"])
        assert torch.equal(view.logits, expected.logits)
        assert torch.equal(view.cams["se"], expected.cams["se"])


def test_a_part_named_output_is_no_rule_of_where_logits_lie():
    class Named(Net):
        def __init__(self):
            super().__init__(lambda logits, _: self.output(logits))
            self.output = nn.Linear(K, K)

    net, batch = Named().eval(), torch.rand(2, 3, 16, 16)
    assert torch.equal(record(net, batch).logits, net(batch).detach())


def test_several_heads_are_told_apart_by_output():
    net, batch = Net(lambda logits, _: [logits, -logits]), torch.rand(2, 3, 16, 16)
    first, second = inspect(net, batch, [1], ["se"]), inspect(net, batch, [1], ["se"], output=lambda o: o[1])
    assert torch.equal(first.logits, -second.logits)
    assert torch.equal(first.weights["se"], -second.weights["se"])
    model = Model(net, None, list("abcde"), output=lambda o: o[1])
    model.blocks = record(net, batch).blocks
    assert torch.equal(inspect(model, batch).logits, second.logits)
    assert torch.equal(inspect(model, batch, ["b"], ["se"]).cams["se"], second.cams["se"])
    with pytest.raises(ValueError, match="no logits"):
        inspect(net, batch, output=lambda o: o[0][:, :, None])


def test_a_function_as_target_beside_a_class():
    net, batch = Net(lambda logits, _: logits), torch.rand(2, 3, 16, 16)
    view = inspect(net, batch, [2, lambda output: output[:, 2], lambda output: 3 * output[:, 2].sum()], ["stem"])
    for t, factor in enumerate((1, 1, 3)):
        torch.testing.assert_close(view.weights["stem"][:, t], factor * view.weights["stem"][:, 0])
    kept = inspect(net, batch, [2], ["stem"], retain_graph=True)
    # maps of one target and of three are sums of another order
    torch.testing.assert_close(kept.grad_cam(lambda output: output[:, 2])[0]["stem"], view.cams["stem"][:, :1])


def gradient(net, batch, score) -> torch.Tensor:
    """∂ score / ∂ the stem's map, by autograd alone."""
    kept = []
    handle = net.stem.register_forward_hook(lambda _, args, output: kept.append(output))
    score(net(batch)).sum().backward(inputs=[kept[0]])
    handle.remove()
    return kept[0].grad


@pytest.mark.parametrize("mask", [None, "all", torch.rand(8, 8), torch.rand(2, 8, 8)])
def test_a_segmented_class(mask):
    net, batch = Net(lambda _, maps: {"out": maps}), torch.rand(2, 3, 16, 16)
    view = inspect(net, batch, [SemanticSegmentationTarget(1, mask)], ["stem"])
    assert view.logits.shape == (2, 0)
    assert view.output["out"].shape == (2, K, 8, 8) and not view.output["out"].requires_grad
    maps = view.output["out"]
    weight = {"None": (maps.argmax(1) == 1).float(), "all": torch.ones(2, 8, 8)}.get(str(mask), mask)
    expected = gradient(net, batch, lambda output: output["out"][:, 1] * weight)
    torch.testing.assert_close(view.weights["stem"][:, 0], expected.mean((2, 3)))
    with pytest.raises(ValueError, match=r"targets must lie in 0\.\.4; found 5"):
        inspect(net, batch, [SemanticSegmentationTarget(5)], ["stem"])
    with pytest.raises(ValueError, match="a function of what it returns can be a target"):
        inspect(net, batch, [1], ["stem"])


def test_a_mask_of_the_pictures_size():
    maps, mask = torch.rand(1, K, 4, 4), torch.zeros(8, 8)
    mask[:4, 4:] = 1
    assert SemanticSegmentationTarget(2, mask)(maps).item() == pytest.approx(maps[0, 2, :2, 2:].sum().item())


def test_one_logit_for_and_against():
    net, batch = Net(lambda logits, _: logits[:, 0]), torch.rand(2, 3, 16, 16)
    view = inspect(net, batch, [0, BinaryClassifierOutputTarget(1), BinaryClassifierOutputTarget(0)], ["stem"])
    alone, for_it, against = view.weights["stem"].unbind(1)
    assert torch.equal(alone, for_it)
    assert torch.equal(for_it, -against)
    assert for_it.abs().max() > 0


def test_similarity_to_another_picture():
    net, batch = Net(lambda logits, _: logits), torch.rand(2, 3, 16, 16)
    other = record(net, torch.rand(1, 3, 16, 16)).logits[0]
    view = inspect(net, batch, [SimilarityToConceptTarget(other)], ["stem"])
    expected = gradient(net, batch, lambda output: (output @ other) / (output.norm(dim=1) * other.norm()))
    torch.testing.assert_close(view.weights["stem"][:, 0], expected.mean((2, 3)))


def test_a_box_of_a_detector():
    boxes = torch.tensor([[0.0, 0, 10, 10], [20, 20, 30, 40]])
    scores = torch.tensor([0.9, 0.4], requires_grad=True)
    found = {"boxes": boxes, "labels": torch.tensor([3, 7]), "scores": scores}
    target = FasterRCNNBoxScoreTarget([7], [[20, 20, 30, 40]])
    assert target([found]).item() == pytest.approx(1.4)  # an overlap of 1 and the score
    assert target(found).item() == pytest.approx(1.4)
    half = FasterRCNNBoxScoreTarget([3], [[0, 0, 10, 6]])
    assert half([found, found]).item() == pytest.approx(2 * (0.6 + 0.9))
    nothing = {"boxes": boxes[:0], "labels": torch.tensor([]), "scores": scores[:0]}
    assert target([nothing, found]).item() == pytest.approx(1.4)
    for other, images in ((FasterRCNNBoxScoreTarget([3], [[20, 20, 30, 40]]), [found]), (target, [nothing]),
                          (FasterRCNNBoxScoreTarget([7], [[0, 0, 1, 1]]), [found])):
        with pytest.raises(ValueError, match="no box that was found lies where a given one does"):
            other(images)
    target([found]).backward()
    assert scores.grad.tolist() == [0, 1]


@pytest.mark.parametrize("target, words", [
    (SemanticSegmentationTarget(1, torch.ones(3, 4, 4)), r"\(2, H, W\) for 2 images, not \(3, 4, 4\)"),
    (SemanticSegmentationTarget(1, torch.ones(2, 1, 4, 4)), r"a mask is \(H, W\).* not \(2, 1, 4, 4\)"),
    (SemanticSegmentationTarget(1, "none"), "a mask is a tensor, None or 'all', not 'none'"),
    (SimilarityToConceptTarget(torch.ones(K + 1)), "has 6 numbers, the network's 5"),
])
def test_targets_of_other_shapes(target, words):
    with pytest.raises(ValueError, match=words):
        target((LOGITS, MAP))


@pytest.mark.parametrize("one", [2, np.int64(2), np.array(2), torch.tensor(2), "c", np.str_("c")], ids=repr)
def test_one_class_alone_is_a_list_of_one(one):
    score, = scores_of(one, LOGITS, LOGITS, 2, "abcde".index)
    assert torch.equal(score, LOGITS[:, 2])


@pytest.mark.parametrize("targets", [
    [["b", "e"], ["c", "a"]], np.array([["b", "e"], ["c", "a"]]), [["b", 4], (2, "a")],
    [np.array([1, 4]), torch.tensor([2, 0])],
], ids=["names", "array", "names and indices", "rows"])
def test_classes_of_each_picture(targets):
    first, second = scores_of(targets, LOGITS, LOGITS, 2, "abcde".index)
    assert torch.equal(first, torch.stack([LOGITS[0, 1], LOGITS[1, 2]]))
    assert torch.equal(second, torch.stack([LOGITS[0, 4], LOGITS[1, 0]]))


@pytest.mark.parametrize("targets", [[[1], [2, 3]], {1}, {"cat": 1}, [None], object(), [1 << 70], b"ab", [[len]]],
                         ids=["ragged", "set", "mapping", "none", "object", "huge", "bytes", "functions"])
def test_what_is_no_target_is_told_in_one_sentence(targets):
    with pytest.raises(ValueError, match=r"^targets are class indices: T of them, or \(N, T\)$"):
        scores_of(targets, LOGITS, LOGITS, 2)


@pytest.mark.parametrize("target, words", [
    (lambda output: output, "gives one number"), (lambda output: 1.0, "not float"),
    (lambda output: output.argmax(1), "gives one number"),
])
def test_functions_that_are_no_targets(target, words):
    with pytest.raises(ValueError, match=words):
        scores_of([target], LOGITS, LOGITS, 2)


def test_a_target_without_a_gradient():
    net = Net(lambda logits, _: logits)
    with pytest.raises(RuntimeError, match="does not depend on any"):
        inspect(net, torch.rand(1, 3, 16, 16), [lambda output: output.detach()[:, 0]], ["stem"])


def test_torchvisions_segmentation_as_it_comes(unchanged):
    net = torchvision.models.segmentation.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=4)
    net.eval()
    batch = torch.rand(1, 3, 64, 64)
    with unchanged(net):
        view = inspect(net, batch, [SemanticSegmentationTarget(2, "all")], ["backbone.16"])
    assert len(view.gates) == 9  # the backbone's eight, and the head's
    assert view.output["out"].shape == (1, 4, 64, 64)
    assert view.cams["backbone.16"].shape[:2] == (1, 1)
    torch.testing.assert_close(view.output["out"], net(batch)["out"].detach())


def test_torchvisions_detection_as_it_comes(unchanged):
    torch.manual_seed(0)
    net = torchvision.models.detection.ssdlite320_mobilenet_v3_large(
        weights=None, weights_backbone=None, num_classes=3, score_thresh=0.0, detections_per_img=5).eval()
    batch = torch.rand(1, 3, 96, 96)
    with unchanged(net):
        found = record(net, batch).output
    assert len(found[0]["boxes"]) > 0
    target = FasterRCNNBoxScoreTarget(found[0]["labels"][:1], found[0]["boxes"][:1])
    view = inspect(net, batch, [target], ["backbone.features.0"])
    assert len(view.gates) == 8
    assert view.logits.shape == (1, 0)
    assert view.weights["backbone.features.0"].abs().max() > 0


def test_a_segmentation_of_transformers():
    transformers = pytest.importorskip("transformers")
    config = transformers.SegformerConfig(num_labels=3, depths=[1, 1, 1, 1], hidden_sizes=[8, 8, 8, 8],
                                          decoder_hidden_size=8, num_attention_heads=[1, 1, 1, 1])
    net = transformers.SegformerForSemanticSegmentation(config).eval()
    view = inspect(net, torch.rand(1, 3, 64, 64), [SemanticSegmentationTarget(1)], ["decode_head.classifier"])
    assert view.logits.shape == (1, 0)
    assert view.output["logits"].shape == (1, 3, 16, 16)
    expected = F.one_hot(torch.tensor([1]), 3).float() * (view.output["logits"].argmax(1) == 1).sum() / 256
    torch.testing.assert_close(view.weights["decode_head.classifier"][0], expected)
