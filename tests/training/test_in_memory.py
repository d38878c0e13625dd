import io

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import functional as F

from senet_viz.data.datasets import Pictures
from senet_viz.training import Recipe, in_memory

RECIPE = Recipe(widths=(4, 4, 8, 8), image_size=16, start_size=8, epochs=4, batch_size=4, scale=0.4)


def pictures(count: int, size: tuple[int, int] = (20, 20)) -> Pictures:
    random = np.random.default_rng(0)
    files = []
    for _ in range(count):
        buffer = io.BytesIO()
        Image.fromarray(random.integers(0, 256, (*size[::-1], 3)).astype(np.uint8)).save(buffer, "PNG")
        files.append(buffer.getvalue())
    return Pictures(files.__getitem__, [i % 3 for i in range(count)], ["a", "b", "c"])


def test_pictures_are_decoded_to_central_squares():
    data = pictures(5, (30, 20))
    found = in_memory.decode(data, 20)
    assert found.images.shape == (5, 3, 20, 20) and found.labels.tolist() == [0, 1, 2, 0, 1]
    by_hand = np.asarray(Image.open(io.BytesIO(data.read(3))))[:, 5:25]
    assert (found.images[3].permute(1, 2, 0).numpy() == by_hand).all()  # of their own size: nothing is resized


def test_pictures_are_spread_evenly():
    assert in_memory.decode(pictures(9), 8, 3).indices.tolist() == [0, 3, 6]


def test_normalised_as_networks_are_given_them():
    image = Image.open(io.BytesIO(pictures(1).read(0)))
    wanted = F.normalize(F.to_tensor(image), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    torch.testing.assert_close(in_memory.normalised(F.pil_to_tensor(image)[None])[0], wanted)


def test_a_whole_crop_is_the_picture_and_a_mirrored_one_its_mirror():
    images = in_memory.decode(pictures(2), 16).images
    whole = torch.tensor([[[1.0, 0, 0], [0, 1, 0]], [[-1.0, 0, 0], [0, 1, 0]]])
    found = in_memory.crop(images, whole, 16)
    torch.testing.assert_close(found[0], in_memory.normalised(images[:1])[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found[1], in_memory.normalised(images[1:])[0].flip(-1), rtol=1e-4, atol=1e-4)


def test_a_quarter_is_what_torchvision_crops():
    images = in_memory.decode(pictures(1), 16).images
    window = torch.tensor([[[0.5, 0, 0.5], [0, 0.5, -0.5]]])  # above on the right
    torch.testing.assert_close(in_memory.crop(images, window, 8)[0],
                               in_memory.normalised(F.crop(images, 0, 8, 8, 8))[0], rtol=1e-4, atol=1e-4)


def test_crops_lie_in_the_picture_and_are_as_large_as_said():
    maps = in_memory.crops(4000, 0.4, torch.Generator().manual_seed(0))
    width, height = maps[:, 0, 0].abs(), maps[:, 1, 1]
    assert (maps[:, 0, 2].abs() <= 1 - width + 1e-6).all() and (maps[:, 1, 2].abs() <= 1 - height + 1e-6).all()
    area = width * height
    assert area.max() <= 1 and area.min() > 0.4 * 0.86  # where a flat crop was as wide as the picture
    assert 0.55 < area.mean() < 0.75
    assert (maps[:, 0, 0] < 0).float().mean() == pytest.approx(0.5, abs=0.03)  # mirrored
    assert maps[:, 0, 2].std() > 0.05


def test_batches_follow_from_seed_and_epoch():
    data = in_memory.decode(pictures(11), in_memory.larger(16))

    def epoch(recipe: Recipe, number: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        torch.manual_seed(number)  # which is of no matter
        return list(in_memory.batches(data, recipe, number))

    first, again = epoch(RECIPE, 0), epoch(RECIPE, 0)
    assert [len(labels) for _, labels in first] == [4, 4]  # 3 are left over
    assert all(torch.equal(a, b) and torch.equal(x, y) for (a, x), (b, y) in zip(first, again))
    assert first[0][0].shape == (4, 3, 8, 8) and epoch(RECIPE, 3)[0][0].shape == (4, 3, 16, 16)
    other = epoch(Recipe(**{**RECIPE.__dict__, "seed": 1}), 0)
    assert not torch.equal(first[0][0], other[0][0])
    assert not torch.equal(first[0][1], epoch(RECIPE, 1)[0][1]) or not torch.equal(first[1][1], epoch(RECIPE, 1)[1][1])


def test_every_picture_has_its_own_label():
    data = in_memory.Decoded(torch.arange(12, dtype=torch.uint8).view(12, 1, 1, 1).expand(12, 3, 20, 20).contiguous(),
                             torch.arange(12), torch.arange(12))
    for images, labels in in_memory.batches(data, RECIPE, 0):
        torch.testing.assert_close(images, in_memory.normalised(labels.view(4, 1, 1, 1).expand(4, 3, 8, 8)))
