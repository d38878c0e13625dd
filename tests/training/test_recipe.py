import dataclasses

import pytest

from senet_viz.training import Recipe


@pytest.mark.parametrize(("options", "expected"), [
    # grows over the first 3 of 4 epochs: 32 + 0, 32/3, 64/3, 32 pixels, to the next multiple of 8
    ({"epochs": 4, "start_size": 32, "image_size": 64, "grow": 0.75}, [32, 40, 56, 64]),
    ({"epochs": 4, "start_size": 32, "image_size": 64, "grow": 1.0}, [32, 40, 48, 56]),
    ({"epochs": 4, "start_size": 32, "image_size": 64, "grow": 0.5}, [32, 48, 64, 64]),
    ({"epochs": 4, "start_size": 32, "image_size": 64, "grow": 0.0}, [64, 64, 64, 64]),
    ({"epochs": 3, "start_size": 48, "image_size": 48}, [48, 48, 48]),
])
def test_size_at(options, expected):
    recipe = Recipe(**options)
    assert [recipe.size_at(epoch) for epoch in range(recipe.epochs)] == expected


def test_sizes_never_shrink_and_end_in_time():
    recipe = Recipe(epochs=30, start_size=32, image_size=64, grow=0.75)
    sizes = [recipe.size_at(epoch) for epoch in range(30)]
    assert sizes == sorted(sizes)
    assert set(sizes) == {32, 40, 48, 56, 64}
    assert sizes[23:] == [64] * 7


@pytest.mark.parametrize(("options", "message"), [
    ({"attention": "eca"}, "attention must be se, sk or none, not 'eca'"),
    ({"precision": "fp16"}, "precision must be bf16, fp32 or auto, not 'fp16'"),
    ({"widths": (8, 8, 8)}, "one number for each of the 4 stages"),
    ({"strides": (1, 2, 2, 2, 2)}, "one number for each of the 4 stages"),
    ({"widths": (8, 0, 8, 8)}, "must be positive"),
    ({"epochs": 0}, "must be positive"),
    ({"batch_size": -1}, "must be positive"),
    ({"lr": 0.0}, "must be positive"),
    ({"lr": float("nan")}, "must be positive"),
    ({"image_size": 60, "start_size": 32}, "multiples of 8"),
    ({"image_size": 80_000}, "4,096×4,096 pixels or less, not 80,000"),
    ({"start_size": 36}, "multiples of 8"),
    ({"image_size": 32, "start_size": 64}, "the first no larger than the last"),
    ({"scale": 0.0}, "above 0 and at most 1"),
    ({"scale": 1.5}, "above 0 and at most 1"),
    ({"grow": -0.1}, "grow is a share of the epochs"),
    ({"grow": 2.0}, "grow is a share of the epochs"),
])
def test_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        Recipe(**options)


def test_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Recipe().epochs = 3
