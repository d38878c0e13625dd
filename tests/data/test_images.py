import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from senet_viz import UnreadableImage, open_image
from senet_viz.data import images
from senet_viz.data.images import blur, elsewhere, thumbnail, zoom

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)
SMOOTH = np.stack(np.meshgrid(np.arange(48) * 5, np.arange(32) * 7), -1).astype(np.uint8)
SMOOTH = np.concatenate([SMOOTH, 255 - SMOOTH[..., :1]], -1)  # survives lossy formats
EXACT = {"PNG": {}, "WEBP": {"lossless": True}, "BMP": {}, "TIFF": {}}


def encode(image: Image.Image | np.ndarray, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, kind, **options)
    return buffer.getvalue()


def decoded(data: bytes) -> np.ndarray:
    image = open_image(data)
    assert image.mode == "RGB"
    return np.asarray(image)


def refuse(data: bytes, message: str) -> None:
    with pytest.raises(UnreadableImage, match=message) as caught:
        open_image(data)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_of_16_bits(colour_type: int, values: list[int], clear: list[int]) -> bytes:
    """A line of pixels, one colour of which is transparent."""
    width = len(values) // len(clear)
    return b"\x89PNG\r\n\x1a\n" + b"".join((
        chunk(b"IHDR", struct.pack(">IIBBBBB", width, 1, 16, colour_type, 0, 0, 0)),
        chunk(b"tRNS", struct.pack(f">{len(clear)}H", *clear)),
        chunk(b"IDAT", zlib.compress(b"\0" + struct.pack(f">{len(values)}H", *values))), chunk(b"IEND", b"")))


# formats

@pytest.mark.parametrize(("kind", "options"), EXACT.items())
def test_lossless_formats(kind, options):
    assert np.array_equal(decoded(encode(PIXELS, kind, **options)), PIXELS)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_lossy_formats(kind):
    assert np.abs(decoded(encode(SMOOTH, kind, quality=95)).astype(int) - SMOOTH).mean() < 3


def test_path_and_bytes(tmp_path):
    path = tmp_path / "no suffix at all"
    path.write_bytes(encode(PIXELS, "PNG"))
    for source in (path, str(path), path.read_bytes(), bytearray(path.read_bytes())):
        assert np.array_equal(np.asarray(open_image(source)), PIXELS)


@pytest.mark.parametrize(("kind", "options"), [("GIF", {}), ("TIFF", {}), ("WEBP", {"lossless": True}), ("PNG", {})])
def test_first_frame(kind, options):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "lime")]
    data = encode(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert Image.open(io.BytesIO(data)).n_frames == 3
    assert (decoded(data) == (255, 0, 0)).all()


def test_what_phones_write():
    """A JPEG with a second picture behind it (MPO)."""
    data = encode(Image.new("RGB", (16, 16), "red"), "MPO", save_all=True,
                  append_images=[Image.new("RGB", (16, 16), "blue")])
    assert Image.open(io.BytesIO(data)).format == "MPO"
    assert np.abs(decoded(data).astype(int) - (255, 0, 0)).max() < 4


# orientation

TURNED = {  # EXIF orientation → the stored pixels as they are meant
    1: PIXELS, 2: PIXELS[:, ::-1], 3: PIXELS[::-1, ::-1], 4: PIXELS[::-1], 5: PIXELS.transpose(1, 0, 2),
    6: np.rot90(PIXELS, -1), 7: PIXELS[::-1, ::-1].transpose(1, 0, 2), 8: np.rot90(PIXELS, 1), 9: PIXELS, 0: PIXELS}


@pytest.mark.parametrize(("kind", "options"), [(k, o) for k, o in EXACT.items() if k != "BMP"])
@pytest.mark.parametrize(("orientation", "expected"), TURNED.items())
def test_orientation(kind, options, orientation, expected):
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert np.array_equal(decoded(encode(PIXELS, kind, exif=exif, **options)), expected)


def test_orientation_of_a_jpeg():
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = decoded(encode(SMOOTH, "JPEG", quality=95, exif=exif))
    assert turned.shape == (48, 32, 3)
    assert np.abs(turned.astype(int) - np.rot90(SMOOTH, -1)).mean() < 3


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_is_no_reason_to_refuse():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = bytearray(encode(SMOOTH, "JPEG", quality=95, exif=exif))
    start = data.index(b"Exif\0\0") + 6
    data[start + 4:start + 8] = b"\xff\xff\xff\x7f"  # where the entries are said to begin
    assert decoded(bytes(data)).shape == SMOOTH.shape


# modes

def test_cmyk():
    stored = Image.fromarray(SMOOTH).convert("CMYK")
    assert np.array_equal(decoded(encode(stored, "TIFF")), SMOOTH)
    assert np.abs(decoded(encode(stored, "JPEG", quality=98)).astype(int) - SMOOTH).mean() < 4


def test_lab():
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    lab = ImageCms.applyTransform(Image.fromarray(SMOOTH), ImageCms.buildTransform(*profiles, "RGB", "LAB"))
    assert np.abs(decoded(encode(lab, "TIFF")).astype(int) - SMOOTH).mean() < 4


@pytest.mark.parametrize("mode", ["L", "1"])
def test_grey(mode):
    image = Image.fromarray(PIXELS).convert(mode)
    expected = np.asarray(image.convert("L"))
    assert np.array_equal(decoded(encode(image, "PNG")), np.repeat(expected[..., None], 3, 2))


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP"])
def test_palette(kind):
    image = Image.fromarray(SMOOTH).quantize(64)
    assert np.array_equal(decoded(encode(image, kind)), np.asarray(image.convert("RGB")))


GREY = np.arange(256).reshape(16, 16)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_grey_of_16_bits(kind):
    """Scaled, not clipped: 65535 is white, 257 is the second darkest grey."""
    stored = (GREY * 257).astype(np.uint16)
    assert np.array_equal(decoded(encode(stored, kind))[..., 0], GREY)


def test_dark_16_bits_stay_dark():
    assert decoded(encode(np.full((4, 4), 6554, np.uint16), "PNG")).max() == 25


def test_big_endian_16_bits():
    stored = Image.frombytes("I;16B", (16, 16), (GREY * 257).astype(">u2").tobytes())
    data = encode(stored, "TIFF")
    assert Image.open(io.BytesIO(data)).mode == "I;16B"
    assert np.array_equal(decoded(data)[..., 0], GREY)


@pytest.mark.parametrize(("stored", "expected"), [
    (GREY.astype(np.int32), GREY),  # 0..255 as it is
    ((GREY * 257).astype(np.int32), GREY),  # 16 bits in 32
    (((GREY - 128) * 1000).astype(np.int32), GREY),  # any other range is stretched
    (GREY.astype(np.float32), GREY),
    ((GREY / 255).astype(np.float32), GREY),  # floats from 0 to 1
    ((GREY * 257).astype(np.float32), GREY),
    ((GREY / 10 - 7).astype(np.float32), GREY),
    (np.full((16, 16), 0.5, np.float32), np.full((16, 16), 127)),
], ids=["I 8 bit", "I 16 bit", "I any", "F 255", "F 1", "F 16 bit", "F any", "F one value"])
def test_32_bits(stored, expected):
    image = Image.fromarray(stored)
    assert image.mode in ("I", "F")
    grey = decoded(encode(image, "TIFF"))
    assert np.abs(grey.astype(int) - expected[..., None]).max() <= 1


# transparency

@pytest.mark.parametrize(("kind", "options"), [(k, o) for k, o in EXACT.items() if k != "BMP"])
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_on_white(kind, options, mode):
    if (kind, mode) == ("WEBP", "LA"):
        options = options | {"exact": True}  # or the colour under full transparency is dropped
    image = Image.fromarray(PIXELS).convert(mode)
    image.putalpha(Image.fromarray(RNG.integers(0, 256, PIXELS.shape[:2], dtype=np.uint8)))
    rgba = np.asarray(image.convert("RGBA")).astype(float)
    alpha = rgba[..., 3:] / 255
    expected = alpha * rgba[..., :3] + (1 - alpha) * 255
    assert np.abs(decoded(encode(image, kind, **options)) - expected).max() <= 1


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_palette_with_transparency(kind):
    image = Image.fromarray(SMOOTH).quantize(32)
    hole = np.asarray(image) == 5
    assert 0 < hole.sum() < hole.size
    result = decoded(encode(image, kind, transparency=5))
    assert (result[hole] == 255).all()
    assert np.array_equal(result[~hole], np.asarray(image.convert("RGB"))[~hole])


def test_palette_with_partial_transparency():
    image = Image.fromarray(SMOOTH).quantize(4)
    alpha = bytes([0, 128, 255, 255])
    result = decoded(encode(image, "PNG", transparency=alpha)).astype(float)
    share = np.frombuffer(alpha, np.uint8)[np.asarray(image)][..., None] / 255
    assert np.abs(result - (share * np.asarray(image.convert("RGB")) + (1 - share) * 255)).max() <= 1


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_one_transparent_colour(mode):
    stored = np.asarray(Image.fromarray(PIXELS).convert(mode)).copy()
    stored[0, 0] = 7
    result = decoded(encode(stored, "PNG", transparency=(7, 7, 7) if mode == "RGB" else 7))
    assert (result[0, 0] == 255).all()
    assert np.array_equal(result[1], np.broadcast_to(stored[1].reshape(9, -1), (9, 3)))


# what is refused

def test_a_transparent_grey_of_16_bits():
    """1,000 is clear, 1,001 of the same high byte is not."""
    values = decoded(png_of_16_bits(0, [40_000, 1_000, 1_001], [1_000]))
    np.testing.assert_array_equal(values[0, :, 0], [155, 255, 3])


def test_a_transparent_colour_of_16_bits():
    values = decoded(png_of_16_bits(2, [40_000, 20_000, 10_000, 1_000, 2_000, 3_000], [1_000, 2_000, 3_000]))
    np.testing.assert_array_equal(values[0], [[156, 78, 39], [255, 255, 255]])


def test_empty():
    refuse(b"", "The file is empty")


@pytest.mark.parametrize("data", [
    b"hello", b"\0", b"%PDF-1.7\n", b"GIF", b"\xff\xd8", b'{"a": 1}' * 100,
    b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect/></svg>',
    encode(PIXELS, "PPM"), encode(PIXELS, "ICO"), encode(PIXELS, "TGA"), encode(PIXELS, "PDF"), encode(PIXELS, "EPS"),
], ids=lambda data: repr(data[:6]))
def test_other_formats(data):
    refuse(data, "^The file is not a picture in JPEG, PNG, WebP, GIF, BMP or TIFF format.$")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_truncated(kind):
    data = encode(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8), kind)
    refuse(data[:len(data) // 2], "^The picture is damaged and cannot be read")
    for share in np.linspace(0.02, 0.9, 23):
        refuse(data[:int(share * len(data))], "picture")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
@pytest.mark.filterwarnings("ignore")
def test_noise_in_a_file_is_survived(kind):
    """Whatever the bytes: a picture or one sentence, nothing else."""
    whole = encode(SMOOTH, kind)
    rng = np.random.default_rng(1)
    outcomes = set()
    for _ in range(60):
        data = bytearray(whole)
        for position in rng.integers(0, len(data), 5):
            data[position] = rng.integers(0, 256)
        try:
            outcomes.add(open_image(bytes(data)).mode)
        except UnreadableImage as error:
            outcomes.add("refused")
            assert "\n" not in str(error)
    assert "RGB" in outcomes


def test_too_many_bytes():
    picture = encode(PIXELS, "BMP")
    limit = images.MAX_BYTES
    refuse(picture + b"\0" * (limit + 1 - len(picture)), r"at most 20 MB are read")
    assert np.array_equal(decoded(picture + b"\0" * (limit - len(picture))), PIXELS)


def large_png(side: int, rows: int) -> bytes:
    """A PNG of side × side black pixels, of which only some rows are stored."""
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(
        b"IDAT", zlib.compress(bytes(1 + (side + 7) // 8) * rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [7072, 9000, 12_000, 20_000, 60_000])
def test_too_many_pixels(monkeypatch, side):
    def load(*_):
        raise AssertionError("a pixel was decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", load, raising=False)
    refuse(large_png(side, 10), "pixels; at most 50 megapixels are read")


def test_just_few_enough_pixels():
    image = open_image(large_png(7071, 7071))  # 49,999,041
    assert image.size == (7071, 7071)


def test_too_many_scans():
    """Each goes over the whole picture: 300 kB of them would take ten seconds. Encoders write ten."""
    data = encode(SMOOTH, "JPEG", progressive=True)
    assert data.count(b"\xff\xda") == 10
    decoded(data)
    start = data.rindex(b"\xff\xda")
    last = data[start:-2]
    assert decoded(data[:-2] + 90 * last + b"\xff\xd9").shape == SMOOTH.shape
    refuse(data[:-2] + 91 * last + b"\xff\xd9", "The JPEG has 101 scans; at most 100 are read")
    decoded(data + 1_000 * last)  # what lies behind the picture's end, as phones put films there, is not decoded


def tiff_in_lines(side: int) -> bytes:
    """Grey, of side × side pixels, a strip a line: the same line each time."""
    fields = [(256, side, 4), (257, side, 4), (258, 8, 3), (259, 1, 3), (262, 1, 3), (277, 1, 3), (278, 1, 4)]
    end = 8 + 2 + 12 * (len(fields) + 2) + 4
    entries = [struct.pack("<HHII", tag, kind, 1, value) for tag, value, kind in fields]
    entries.insert(5, struct.pack("<HHII", 273, 4, side, end + side))  # where each strip begins
    entries.append(struct.pack("<HHII", 279, 4, side, end + 5 * side))  # and how long it is
    return (b"II*\0" + struct.pack("<IH", 8, len(entries)) + b"".join(entries) + bytes(4) + b"\x80" * side
            + struct.pack("<I", end) * side + struct.pack("<I", side) * side)


def test_too_many_tiles(monkeypatch):
    assert (decoded(tiff_in_lines(32)) == 128).all()
    monkeypatch.setattr(images, "MAX_TILES", 31)
    refuse(tiff_in_lines(32), "The TIFF is cut into 32 tiles; at most 31 are read")


def test_too_many_runs():
    """Pillow reads them one by one."""
    runs = b"\x01\x07" * 2 * 2**20
    header = struct.pack("<IiiHHIIiiII", 40, 2_048, 1_024, 1, 8, 1, len(runs), 0, 0, 256, 0)
    start = 14 + len(header) + 1_024
    bmp = b"BM" + struct.pack("<IHHI", start + len(runs), 0, 0, start) + header + bytes(1_024) + runs
    refuse(bmp, r"The BMP has 4\.0 MB of run lengths; at most 4 MB are read")
    assert decoded(encode(Image.new("L", (2_100, 2_000)), "BMP")).shape == (2_000, 2_100, 3)  # as large, without runs


def test_refused_without_a_warning(recwarn):
    refuse(large_png(12_000, 10), "12000×12000 pixels")
    assert not [w for w in recwarn if issubclass(w.category, Image.DecompressionBombWarning)]


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_too_long(monkeypatch, kind):
    for shape in ((1, 100), (200, 2)):
        assert decoded(encode(np.zeros((*shape, 3), np.uint8), kind)).shape == (*shape, 3)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda *_: pytest.fail("a pixel was decoded"))
    for height, width in ((1, 101), (201, 2), (1, 9000)):
        refuse(encode(np.zeros((height, width, 3), np.uint8), kind),
               rf"^The picture has {width}×{height} pixels; the longer side may be 100 times the shorter")


# zoom

@pytest.mark.parametrize("factor", [2, 3, 4])
def test_zoom_is_enlarging_and_cutting_out(factor):
    """Of an oblong picture, whose sides the factors divide: the whole is enlarged, and its middle cut out."""
    image = Image.fromarray(RNG.integers(0, 256, (24, 48, 3), dtype=np.uint8))
    whole = np.asarray(image.resize((48 * factor, 24 * factor), Image.Resampling.BICUBIC))
    x, y = 24 * (factor - 1), 12 * (factor - 1)
    assert np.array_equal(np.asarray(zoom(image, factor)), whole[y:y + 24, x:x + 48])


def test_zoom_of_a_slope():
    """Bicubic interpolation is exact on a straight line: pixel i of the result lies at 16 + (i + 1/2) / 2 − 1/2."""
    image = Image.fromarray(np.tile(np.arange(64, dtype=np.uint8) * 4, (32, 1))).convert("RGB")
    expected = 4 * (16 + (np.arange(64) + 0.5) / 2 - 0.5)  # 63, 65, 67, …
    assert np.array_equal(np.asarray(zoom(image, 2)), np.broadcast_to(expected[None, :, None], (32, 64, 3)))


def test_zoom_by_no_whole_number():
    """An oblong of 20 × 12 in 60 × 36 pixels, enlarged 1.5-fold, is 30 × 18, and stays in the middle."""
    pixels = np.zeros((36, 60, 3), np.uint8)
    pixels[12:24, 20:40] = 255
    result = np.asarray(zoom(Image.fromarray(pixels), 1.5)).astype(float).mean(2) / 255
    assert result.shape == (36, 60)
    assert result.sum() == pytest.approx(30 * 18, rel=0.01)
    assert np.array_equal(result, result[::-1, ::-1])
    assert result[12:24, 18:42].min() > 0.98
    assert result[:6].max() == result[:, :12].max() == 0


@pytest.mark.parametrize("size", [(24, 12), (40, 20), (50, 25)])
def test_results_of_another_size(size):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 40, 3), dtype=np.uint8))
    bicubic = Image.Resampling.BICUBIC
    assert np.array_equal(zoom(image, 2, None, size), image.resize(size, bicubic, box=(10, 5, 30, 15)))
    assert np.array_equal(elsewhere(image, 2, (0, 0), size), image.resize(size, bicubic, box=(20, 10, 40, 20)))
    assert np.array_equal(blur(image, 2, size), image.resize((20, 10), bicubic).resize(size, bicubic))
    for function in (zoom, blur, elsewhere):
        made = function(image, 1, size=size)
        assert np.array_equal(made, image.resize(size, bicubic)) and made.size == size
        assert function(image, 0.5, size=size).size == size
    white = Image.new("RGB", (40, 20), "white")
    shrunk = np.asarray(zoom(Image.merge("RGB", [Image.new("L", (40, 20), 99)] * 3), 0.5, None, size))
    assert (shrunk == 99).all()
    dotted = white.copy()
    dotted.paste("black", (12, 6, 28, 14))  # the middle stays the middle
    rows, columns = np.nonzero(np.asarray(zoom(dotted, 0.5, None, size))[..., 0] < 128)
    assert (columns.mean() + 0.5, rows.mean() + 0.5) == pytest.approx((size[0] / 2, size[1] / 2), abs=1)


@pytest.mark.parametrize(("centre", "corner"), [
    ((20, 10), (10, 5)), ((30, 12), (20, 7)),  # inside
    ((0, 0), (0, 0)), ((9.5, 3), (0, 0)), ((39, 19), (20, 10)), ((1e6, -1e6), (20, 0)),  # moved inwards
])
def test_zoom_into_a_point(centre, corner):
    image = Image.fromarray(RNG.integers(0, 256, (20, 40, 3), dtype=np.uint8))
    whole = np.asarray(image.resize((80, 40), Image.Resampling.BICUBIC))
    x, y = 2 * corner[0], 2 * corner[1]
    assert np.array_equal(np.asarray(zoom(image, 2, centre)), whole[y:y + 20, x:x + 40])


@pytest.mark.parametrize("factor", [1.1, 1.7, 3.3, 7, 17])
def test_zoom_never_reaches_beyond_the_picture(factor):
    image = Image.new("RGB", (17, 31), (9, 8, 7))
    for centre in (None, (0, 0), (17, 31), (3.3, 30.9)):
        result = np.asarray(zoom(image, factor, centre))
        assert result.shape == (31, 17, 3)
        assert (result == (9, 8, 7)).all()


def test_zoom_of_1_is_the_picture():
    image = Image.fromarray(PIXELS)
    for centre in (None, (0, 0)):
        assert np.array_equal(np.asarray(zoom(image, 1.0, centre)), PIXELS)


@pytest.mark.parametrize("function", [zoom, blur, elsewhere])
@pytest.mark.parametrize("factor", [0, -2, float("nan"), float("inf")])
def test_no_zoom(function, factor):
    with pytest.raises(ValueError, match=r"^the factor of a zoom must be a finite number above 0, not "):
        function(Image.fromarray(PIXELS), factor)


@pytest.mark.parametrize("function", [zoom, blur, elsewhere])
def test_a_zoom_leaves_a_pixel_at_least(function):
    picture = Image.fromarray(PIXELS)
    with pytest.raises(ValueError, match="a zoom by 1e\\+09 leaves less than one pixel of a picture of"):
        function(picture, 1e9)
    assert function(picture, min(picture.size)).size == picture.size


def test_zoom_below_1_shrinks_onto_a_blurred_border():
    pixels = np.zeros((40, 80, 3), np.uint8)
    pixels[:, 40:] = 200
    image = Image.fromarray(pixels)
    result = np.asarray(zoom(image, 0.5)).astype(int)
    assert result.shape == (40, 80, 3)
    assert np.array_equal(result[10:30, 20:60], np.asarray(image.resize((40, 20), Image.Resampling.BICUBIC)))
    assert np.array_equal(np.asarray(image), pixels)
    # the border is the picture itself, blurred: dark on the left, bright on the right, without an edge
    top = result[0, :, 0]
    assert (np.diff(top) >= 0).all()
    assert np.diff(top).max() < 20
    assert (top[0], top[-1]) == pytest.approx((0, 200), abs=12)


@pytest.mark.parametrize("factor", [2, 0.5])
def test_blur_is_shrinking_and_enlarging(factor):
    image = Image.fromarray(PIXELS)
    width, height = image.size
    small = image.resize((round(width / 2), round(height / 2)), Image.Resampling.BICUBIC)
    expected = small.resize(image.size, Image.Resampling.BICUBIC)
    assert np.array_equal(np.asarray(blur(image, factor)), np.asarray(expected))
    assert blur(image, 1) is image


def test_blur_leaves_the_detail_of_a_zoom():
    """Enlarged with the nearest neighbour, a picture has as much detail after ``blur`` as its half has in ``zoom``."""
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))

    def highest(picture) -> float:  # share of power in the upper half of frequencies
        power = np.abs(np.fft.rfft(np.asarray(picture)[..., 0].astype(float) - 127)) ** 2
        return power[:, 17:].sum() / power.sum()

    assert highest(image) > 0.4
    assert highest(blur(image, 2)) < 0.15
    assert highest(zoom(image, 2)) < 0.15


@pytest.mark.parametrize(("centre", "corner"), [
    (None, (20, 10)), ((0, 0), (20, 10)), ((39, 0), (0, 10)), ((39, 19), (0, 0)), ((5, 19), (20, 0))])
def test_elsewhere_is_the_corner_farthest_away(centre, corner):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 40, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    x, y = corner
    expected = image.resize(image.size, Image.Resampling.BICUBIC, box=(x, y, x + 20, y + 10))
    assert np.array_equal(np.asarray(elsewhere(image, 2, centre)), np.asarray(expected))
    assert elsewhere(image, 1, centre) is image


def test_no_centre_of_a_zoom():
    with pytest.raises(ValueError, match=r"^the centre of a zoom must be two finite numbers, not "):
        zoom(Image.fromarray(PIXELS), 2, (1, float("nan")))


def test_a_thumbnail_is_the_picture_in_small():
    whole = Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)).resize((300, 200))
    small = thumbnail(encode(whole, "PNG"), 60)
    assert small.size == (60, 40) and small.mode == "RGB"
    expected = np.asarray(whole.resize((60, 40), Image.Resampling.BICUBIC)).astype(int)
    assert np.abs(np.asarray(small).astype(int) - expected).max() <= 2
    assert thumbnail(encode(whole, "PNG"), 400).size == (300, 200)
    with pytest.raises(UnreadableImage):
        thumbnail(b"no")
