import dataclasses
import math

import pytest

from senet_viz.training import Recipe

ODD = (math.nan, math.inf)


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
    ({"lr": math.inf}, "must be positive and finite"),
    ({"reduction": 0}, "reduction and min_width must be at least 1"),
    ({"widths": (8, 8, 8, 1025)}, "widths cannot be more than 1,024"),
    ({"strides": (1, 1, 1, 10 ** 30)}, "strides cannot be more than 64"),
    ({"min_width": 10 ** 9}, "min_width cannot be more than 4,096"),
    ({"epochs": 10 ** 5000}, "epochs cannot be more than 100,000"),
    ({"batch_size": 10 ** 9}, "batch_size cannot be more than 65,536"),
    ({"batch_size": 1}, "a batch has 2 pictures or more"),
    ({"seed": 10 ** 40}, "seed is a whole number of at most 14 digits"),
    *(({"warmup": value}, f"warmup is a number of epochs, 0 or more, not {value}") for value in (-3, *ODD)),
    *(({"momentum": value}, f"momentum is Nesterov's, above 0 and below 1, not {value}")
      for value in (-1.0, 0.0, 1.0, *ODD)),
    *(({"weight_decay": value}, f"weight_decay is 0 .* or more, not {value}") for value in (-1.0, *ODD)),
    *(({"label_smoothing": value}, f"label_smoothing is a share, 0 to below 1, not {value}")
      for value in (-0.1, 1.0, 2, *ODD)),
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


@pytest.mark.parametrize("options", [
    {"warmup": 0.0}, {"warmup": 1e9}, {"weight_decay": 0.0}, {"label_smoothing": 0.0}, {"batch_size": 2},
    {"seed": 10 ** 14 - 1}, {"epochs": 100_000, "widths": (1024,) * 4}])
def test_takes_what_is_just_within(options):
    recipe = Recipe(**options)
    assert {name: getattr(recipe, name) for name in options} == options


def test_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Recipe().epochs = 3
