import numpy as np
import pytest
import torch

from senet_viz.gates import Edit, EditError, edited, inspect, parse_edits
from senet_viz.gates.dealing import donors

LABELS = {
    "mixed": [4, 1, 4, 2, 1, 2, 2, 4, 9], "halves": [0, 1, 0, 1, 1, 0], "pairs": [k // 2 for k in range(32)],
    "most of one": [0, 0, 0, 0, 0, 1, 2], "one class": [3, 3, 3], "all different": [5, 6, 7, 8], "one": [1]}


@pytest.mark.parametrize("name", LABELS)
@pytest.mark.parametrize("seed", range(4))
def test_donors(name, seed):
    labels = np.array(LABELS[name])
    counts = {label: (labels == label).sum() for label in labels}
    same, other = (donors(word, LABELS[name], seed).numpy() for word in ("class", "classes"))
    own = np.arange(len(labels))
    assert sorted(same) == own.tolist()
    for i in own:
        assert labels[same[i]] == labels[i] and (same[i] != i) == (counts[labels[i]] > 1)
        assert labels[other[i]] != labels[i] if len(counts) > 1 else other[i] == i
    if 2 * max(counts.values()) <= len(labels):
        assert sorted(other) == own.tolist()
    assert same.tolist() == donors("class", LABELS[name], seed).tolist()
    assert other.tolist() == donors("classes", LABELS[name], seed).tolist()


def test_the_seed_deals_anew():
    labels = [k // 4 for k in range(24)]
    for word in ("class", "classes"):
        assert len({tuple(donors(word, labels, seed).tolist()) for seed in range(5)}) > 1


@pytest.mark.parametrize("attention", ["se", "sk"])
@pytest.mark.parametrize("value", ["shuffle class", "shuffle classes", "shuffle class 3"])
def test_the_gates_are_those_of_the_donors(network, pictures, attention, value):
    """By hooks of one's own: every gate module's output is taken from the donor's row."""
    module, batch, labels = network(f"slim/{attention}"), pictures(6), [1, 2, 1, 2, 3, 3]
    edit, = parse_edits(f"*={value}")
    assert str(edit) == f"*={value}" and edit.donors is None
    dealt = edit.dealt(labels)
    rows = dealt.donors.tolist()
    assert all((labels[i] == labels[j]) == (value != "shuffle classes") and i != j for i, j in enumerate(rows))
    view = inspect(module, batch, edits=[dealt])
    plain = inspect(module, batch)
    first = plain.blocks[0].name
    torch.testing.assert_close(view.gates[first], plain.gates[first][rows])
    handles = [module.get_submodule(block.gate).register_forward_hook(lambda _, __, gate: gate[rows])
               for block in plain.blocks]
    try:
        with torch.no_grad():
            torch.testing.assert_close(view.logits, module(batch))
    finally:
        for handle in handles:
            handle.remove()
    assert not torch.allclose(view.logits, plain.logits, atol=1e-3)


@pytest.mark.parametrize("value", ["shuffle class", "shuffle classes"])
def test_without_classes_it_is_refused_in_one_sentence(network, pictures, value):
    module, batch = network("slim/se"), pictures(4)
    sentence = (f"SE_2_1={value}: nobody says here which classes the images are of; evaluate knows them, and "
                f"Edit.dealt takes them")
    with pytest.raises(EditError, match=f"^{sentence}$"):
        inspect(module, batch, edits=[Edit("SE_2_1", value)])
    with pytest.raises(EditError, match=f"^{sentence}$"), edited(module, [Edit("SE_2_1", value)], example=batch):
        pass
    dealt = Edit("SE_2_1", value).dealt([1, 1, 2, 2])
    with pytest.raises(EditError, match=f"^SE_2_1={value}: the gates were dealt to 4 images, and the batch has 3$"):
        inspect(module, batch[:3], edits=[dealt])


def test_whose_gates_an_edit_deals():
    assert [edit.deals for edit in parse_edits(
        "*=shuffle images; *=shuffle class; *=shuffle classes 2; *=shuffle channels; *=1; *=*0.5")] == [
        "images", "class", "classes", "", "", ""]
    for text in ("*=shuffle images", "*=1"):
        edit, = parse_edits(text)
        assert edit.dealt([1, 2]) is edit
