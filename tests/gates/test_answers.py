"""What is told of a network from what it returned, on outputs written out by hand."""
import pytest
import torch
from torch.nn import functional as F

from senet_viz.gates import SemanticSegmentationTarget, View
from senet_viz.gates.answers import (
    CLASSIFICATION,
    NO_CLASS,
    OTHER,
    SEGMENTATION,
    answer_of,
    by_class,
    class_map,
    is_binary,
    is_finite,
    target_of,
    two_sides,
)

MAPS = torch.arange(2 * 3 * 4.0).reshape(1, 3, 2, 4).flip(3) * torch.tensor([1.0, -1.0, 0.2])[:, None, None]


def view(logits=(), output=None) -> View:
    found = torch.tensor([logits]).float().reshape(1, len(logits))
    return View(found, {"a": torch.ones(1, 1, 4)}, {}, {}, {}, [], found if output is None else output)


@pytest.mark.parametrize(("seen", "classes", "task", "binary"), [
    (view([1, 2, 3]), "abc", CLASSIFICATION, False), (view([1]), "", CLASSIFICATION, True),
    (view([1]), "a", CLASSIFICATION, True), (view([1]), "ab", CLASSIFICATION, True), (view([1]), "abc", OTHER, False),
    (view([1, 2, 3]), "ab", OTHER, False), (view([1, 2, 3]), "", OTHER, False),
    (view(output=MAPS), "abc", SEGMENTATION, False), (view(output=MAPS[:, :1]), "a", SEGMENTATION, False),
    (view(output={"out": MAPS, "aux": MAPS}), "abc", SEGMENTATION, False), (view(output=MAPS), "ab", OTHER, False),
    (view(output=MAPS), "", OTHER, False), (view(output=[{"boxes": torch.ones(2, 4)}]), "abc", OTHER, False),
    (view(output=object()), "abc", OTHER, False)])
def test_the_task_is_told_by_logits_maps_and_class_names(seen, classes, task, binary):
    answer = answer_of(seen, list(classes))
    assert (answer.task, answer.binary) == (task, binary)
    assert bool(answer.without) == (task != CLASSIFICATION)


@pytest.mark.parametrize(("seen", "classes", "said"), [
    (view([1, 2, 3]), "ab", "The network gives 3 logits, but there are 2 class names: so."),
    (view([1, 2, 3]), "", "The network gives 3 numbers for a picture, and the model names no classes: so."),
    (view(output=[{"boxes": 1, "scores": 2}]), "a",
     "The network gives no logits of classes but a list of 1 with a dictionary with boxes, scores: so."),
    (view(output=MAPS), "ab", "The network gives no logits of classes but a tensor (1, 3, 2, 4) (it would be a class "
                              "map if the model had 3 class names and not 2): so."),
    (view(output=[]), "ab", "The network gives no logits of classes but an object of type list: so.")])
def test_what_it_gives_instead_is_one_sentence(seen, classes, said):
    assert answer_of(seen, list(classes)).lacks("so") == said


def test_the_class_of_a_pixel_is_that_with_the_highest_score():
    found = class_map(view(output={"out": MAPS}))
    assert found.shape == (1, 2, 4)
    assert found[0].tolist() == [[max(range(3), key=lambda k: float(MAPS[0, k, y, x])) for x in range(4)]
                                 for y in range(2)]
    alone = class_map(view(output=torch.tensor([[[[0.1, 0.0], [-0.1, 2.0]]]])))
    assert alone.tolist() == [[[0, NO_CLASS], [NO_CLASS, 0]]]
    with pytest.raises(ValueError, match="no tensor of 4 dimensions"):
        class_map(view([1, 2]))


def test_a_segmentations_class_is_explained_over_the_pixels_it_had():
    seen = view(output=MAPS)
    assert target_of(view([1, 2, 3]), 2) == 2
    target = target_of(seen, 2)
    mask = class_map(seen)[0] == 2
    assert 0 < mask.sum() < 8
    torch.testing.assert_close(target(MAPS), MAPS[:, 2][:, mask].sum(1))
    other = torch.rand(3, 3, 2, 4)  # the same pixels in other pictures, whatever their class is there
    torch.testing.assert_close(target(other), other[:, 2][:, mask].sum(1))
    torch.testing.assert_close(SemanticSegmentationTarget(2)(MAPS), target(MAPS))
    alone = MAPS[:, 1:2] + 10
    torch.testing.assert_close(SemanticSegmentationTarget(0)(alone), F.relu(alone).sum((1, 2, 3)))


def test_the_sides_of_one_logit():
    assert two_sides([]) == ["against", "for"]
    assert two_sides(["cat"]) == ["against cat", "for cat"]
    assert two_sides(["cat", "dog"]) == ["cat", "dog"]
    assert is_binary(view([1]), ["cat"])
    assert not is_binary(view([1, 2]), ["cat", "dog"])
    assert not is_binary(view(output=MAPS[:, :1]), ["cat"])


def test_logits_by_class():
    z = torch.tensor([[2.0], [-1.0]])
    for names in ([], ["cat"], ["cat", "dog"]):
        logits, classes = by_class(z, names)
        assert classes == two_sides(names)
        torch.testing.assert_close(logits.softmax(1)[:, 1:], z.sigmoid())
        assert torch.equal(by_class(z[0], names)[0], logits[0])
    for logits, names in ((z, list("abc")), (z.T, list("ab")), (z[:, :0], []), (z.T, [])):
        assert by_class(logits, names) == (logits, names)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_numbers_that_are_none_are_seen_wherever_they_are(bad):
    assert is_finite(view([1, 2]))
    assert is_finite(view(output=MAPS))
    assert not is_finite(view([1, bad]))
    assert not is_finite(view(output={"out": MAPS + bad}))
    gated = view([1, 2])
    gated.gates["a"][0, 0, 3] = bad
    assert not is_finite(gated)
