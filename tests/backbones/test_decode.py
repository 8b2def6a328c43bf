from __future__ import annotations

import hashlib
import io
import os
import struct
import threading
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from backbones.decode import (
    IMAGE_SUFFIXES,
    MAX_PIXELS,
    HashedFile,
    ImageInput,
    LoadedImage,
    hash_file,
    load_image,
)
from backbones.errors import ImageError


def rgb(loaded: LoadedImage, x: int = 0, y: int = 0) -> tuple[int, ...]:
    pixel = loaded.pixels.getpixel((x, y))
    assert isinstance(pixel, tuple)
    return pixel


def noise(width: int = 48, height: int = 32) -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


def refusal(path: Path) -> str:
    with pytest.raises(ImageError) as caught:
        load_image(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) not in message, "the caller adds the path"
    return message


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds almost no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 100)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("suffix", sorted(IMAGE_SUFFIXES))
def test_every_listed_suffix_can_be_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"part{suffix}"
    Image.new("RGB", (48, 32), (200, 100, 50)).save(path)
    loaded = load_image(path)
    assert loaded.pixels.mode == "RGB"
    assert loaded.pixels.size == (loaded.width, loaded.height) == (48, 32)
    assert np.abs(np.subtract(rgb(loaded), (200, 100, 50))).max() <= 3


def test_lossless_pixels_come_back_unchanged(tmp_path: Path) -> None:
    noise().save(tmp_path / "a.png")
    assert load_image(tmp_path / "a.png").pixels.tobytes() == noise().tobytes()


def test_pixels_outlive_the_file(tmp_path: Path) -> None:
    noise().save(tmp_path / "a.png")
    loaded = load_image(tmp_path / "a.png")
    (tmp_path / "a.png").unlink()
    assert loaded.pixels.resize((8, 8)).size == (8, 8)


def test_format_is_told_by_content_not_by_suffix(tmp_path: Path) -> None:
    noise().save(tmp_path / "a.jpg", format="PNG")
    assert load_image(tmp_path / "a.jpg").pixels.tobytes() == noise().tobytes()


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(tmp_path: Path, orientation: int, suffix: str) -> None:
    upright = Image.new("RGB", (48, 32))
    upright.paste((255, 0, 0), (0, 0, 24, 16))
    upright.paste((0, 255, 0), (24, 0, 48, 16))
    stored_by = {  # the operation a camera applied, inverse of what the tag asks for
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(stored_by[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / f"a{suffix}", exif=exif)

    loaded = load_image(tmp_path / f"a{suffix}", size_hint=(8, 8))
    assert (loaded.width, loaded.height) == (48, 32)
    width, height = loaded.pixels.size
    assert width / height == 1.5
    assert np.argmax(rgb(loaded, width // 4, height // 4)) == 0
    assert np.argmax(rgb(loaded, 3 * width // 4, height // 4)) == 1
    assert sum(rgb(loaded, width // 4, 3 * height // 4)) < 40


def test_damaged_exif_leaves_the_image_readable_and_quiet(tmp_path: Path) -> None:
    noise().save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert load_image(tmp_path / "a.jpg").width == 48
    assert caught == []


def test_nonsense_orientation_means_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 77
    noise().save(tmp_path / "a.jpg", exif=exif)
    assert load_image(tmp_path / "a.jpg").width == 48


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bit_grey_is_scaled_not_clipped(tmp_path: Path, suffix: str) -> None:
    values = np.zeros((16, 16), np.uint16)
    values[0, :4] = [128, 129, 32896, 65535]
    Image.fromarray(values).save(tmp_path / f"a{suffix}")
    row = np.asarray(load_image(tmp_path / f"a{suffix}").pixels)[0]
    assert row[:5].tolist() == [[0] * 3, [1] * 3, [128] * 3, [255] * 3, [0] * 3]


def test_big_endian_16_bit_grey(tmp_path: Path) -> None:
    image = Image.frombytes("I;16B", (16, 16), np.full((16, 16), 32896, ">u2").tobytes())
    image.save(tmp_path / "a.tif")
    assert rgb(load_image(tmp_path / "a.tif")) == (128, 128, 128)


def test_32_bit_integers_are_read_as_16_bit_values(tmp_path: Path) -> None:
    Image.fromarray(np.full((16, 16), 32896, np.int32)).save(tmp_path / "a.tif")
    assert rgb(load_image(tmp_path / "a.tif")) == (128, 128, 128)


@pytest.mark.parametrize("value", [-1, 65536])
def test_32_bit_integers_outside_16_bits_are_refused(tmp_path: Path, value: int) -> None:
    Image.fromarray(np.full((16, 16), value, np.int32)).save(tmp_path / "a.tif")
    assert f"got {value}" in refusal(tmp_path / "a.tif")


def test_floats_are_read_as_0_to_1(tmp_path: Path) -> None:
    values = np.tile(np.array([0, 0.25, 0.5, 1], np.float32), (16, 4))
    Image.fromarray(values).save(tmp_path / "a.tif")
    row = np.asarray(load_image(tmp_path / "a.tif").pixels)[0, :4, 0]
    assert row.tolist() == [0, 64, 128, 255]


@pytest.mark.parametrize("value", [-0.1, 1.5, float("nan"), float("inf")])
def test_floats_outside_0_to_1_are_refused(tmp_path: Path, value: float) -> None:
    Image.fromarray(np.full((16, 16), value, np.float32)).save(tmp_path / "a.tif")
    assert "expected 32-bit grey values within 0..1" in refusal(tmp_path / "a.tif")


@pytest.mark.parametrize("mode", ["1", "L", "P"])
def test_grey_and_palette_become_rgb(tmp_path: Path, mode: str) -> None:
    Image.new("RGB", (16, 16), "white").convert(mode).save(tmp_path / "a.png")
    assert rgb(load_image(tmp_path / "a.png")) == (255, 255, 255)


def transparent_rgba() -> Image.Image:
    return Image.new("RGBA", (16, 16), (200, 100, 50, 0))


def transparent_grey() -> Image.Image:
    return Image.new("LA", (16, 16), (200, 0))


def transparent_palette() -> Image.Image:
    image = Image.new("P", (16, 16), 1)
    image.putpalette([0, 0, 0, 200, 100, 50])
    image.info["transparency"] = bytes([255, 0])
    return image


@pytest.mark.parametrize("make", [transparent_rgba, transparent_grey, transparent_palette])
def test_transparent_pixels_are_black(tmp_path: Path, make: Callable[[], Image.Image]) -> None:
    make().save(tmp_path / "a.png")
    assert rgb(load_image(tmp_path / "a.png")) == (0, 0, 0)


def test_half_transparent_pixels_are_half_as_bright(tmp_path: Path) -> None:
    Image.new("RGBA", (16, 16), (200, 100, 50, 128)).save(tmp_path / "a.png")
    assert rgb(load_image(tmp_path / "a.png")) == (100, 50, 25)


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "a.jpg")
    assert np.argmax(rgb(load_image(tmp_path / "a.jpg"))) == 0


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp", ".tif"])
def test_first_frame_of_an_animation_is_read(tmp_path: Path, suffix: str) -> None:
    frames = [Image.new("RGB", (16, 16), color) for color in ("red", "lime", "blue")]
    frames[0].save(tmp_path / f"a{suffix}", save_all=True, append_images=frames[1:])
    red, green, blue = rgb(load_image(tmp_path / f"a{suffix}"))
    assert red > 250
    assert max(green, blue) < 5


@pytest.mark.parametrize(
    ("side", "decoded"), [(10, (40, 20)), (20, (80, 40)), (40, (160, 80)), (41, (320, 160))]
)
def test_size_hint_leaves_both_sides_at_least_twice_as_long(
    tmp_path: Path, side: int, decoded: tuple[int, int]
) -> None:
    noise(320, 160).save(tmp_path / "a.jpg")
    loaded = load_image(tmp_path / "a.jpg", size_hint=(side, side))
    assert loaded.pixels.size == decoded
    assert (loaded.width, loaded.height) == (320, 160)


def test_size_hint_changes_nothing_for_other_formats(tmp_path: Path) -> None:
    noise(320, 160).save(tmp_path / "a.png")
    assert load_image(tmp_path / "a.png", size_hint=(10, 10)).pixels.size == (320, 160)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.png") == "there is no such file"


def test_dangling_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to(tmp_path / "none.png")
    assert refusal(tmp_path / "a.png") == "there is no such file"


def test_folder_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path) == "expected an image file, got a folder"


def test_pipe_is_refused_without_waiting_for_a_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    assert "pipe" in refusal(tmp_path / "a.png")


def test_path_that_no_system_accepts_is_refused() -> None:
    assert "null" in refusal(Path("a\0.png"))


def test_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    assert "empty (0 bytes)" in refusal(tmp_path / "a.png")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file_is_refused(tmp_path: Path) -> None:
    noise().save(tmp_path / "a.png")
    (tmp_path / "a.png").chmod(0)
    assert "permission" in refusal(tmp_path / "a.png")


@pytest.mark.parametrize("content", [b"not an image at all\n" * 20, b"%PDF-1.7\n", b"\0" * 999])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    assert refusal(tmp_path / "a.png").startswith("expected an image, got a file that no reader")


@pytest.mark.parametrize("share", [0.002, 0.02, 0.1, 0.5, 0.9, 0.97])
@pytest.mark.parametrize("suffix", sorted(IMAGE_SUFFIXES))
def test_truncated_file_is_refused(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"a{suffix}"
    noise(96, 96).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: max(2, int(share * len(content)))])
    assert "cut short" in refusal(path)


def test_scrambled_files_never_raise_anything_else(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    path = tmp_path / "a"
    for suffix in sorted(IMAGE_SUFFIXES):
        noise(32, 32).save(tmp_path / f"a{suffix}")
        content = np.frombuffer((tmp_path / f"a{suffix}").read_bytes(), np.uint8)
        for _ in range(60):
            scrambled = content.copy()
            places = rng.integers(0, min(len(content), 300), 6)
            scrambled[places] = rng.integers(0, 256, 6)
            path.write_bytes(scrambled.tobytes())
            try:
                load_image(path, size_hint=(8, 8))
            except ImageError as error:
                assert "\n" not in str(error)  # noqa: PT017 - a readable file is fine as well


@pytest.mark.parametrize("size", [(1, 1), (7, 100), (100, 7)])
def test_tiny_image_is_refused(tmp_path: Path, size: tuple[int, int]) -> None:
    Image.new("RGB", size).save(tmp_path / "a.png")
    expected = f"expected at least 8 x 8 pixels, got {size[0]} x {size[1]}"
    assert refusal(tmp_path / "a.png") == expected


def test_smallest_image_is_read(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    assert load_image(tmp_path / "a.png").width == 8


@pytest.mark.parametrize("side", [10_001, 12_000, 15_000, 60_000])
def test_huge_image_is_refused_from_its_header_without_a_warning(tmp_path: Path, side: int) -> None:
    (tmp_path / "a.png").write_bytes(png_header(side, side))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        message = refusal(tmp_path / "a.png")
    assert message.startswith("expected at most 100 megapixels, got ")
    assert caught == []


def test_image_of_just_100_megapixels_passes_the_size_check(tmp_path: Path) -> None:
    assert MAX_PIXELS == 10_000 * 10_000
    (tmp_path / "a.png").write_bytes(png_header(10_000, 10_000))
    assert "cut short" in refusal(tmp_path / "a.png"), "its header passes, its pixels are missing"


def test_threads_read_the_same_and_leave_no_warning(tmp_path: Path) -> None:
    for index in range(8):
        noise(96 + index, 64).save(
            tmp_path / f"{index}.jpg", exif=b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01"
        )
    paths = sorted(tmp_path.iterdir()) * 8
    start = threading.Barrier(8)

    def read(paths: list[Path]) -> list[bytes]:
        start.wait()
        return [load_image(path).pixels.tobytes() for path in paths]

    alone = [load_image(path).pixels.tobytes() for path in paths]
    with warnings.catch_warnings(record=True) as caught, ThreadPoolExecutor(8) as pool:
        warnings.simplefilter("always")
        assert list(pool.map(read, [paths] * 8)) == [alone] * 8
    assert caught == []


def in_memory(kind: str) -> ImageInput:
    """The same picture as bytes of a file, PIL image, and array."""
    stream = io.BytesIO()
    noise().save(stream, "PNG")
    kinds: dict[str, ImageInput] = {
        "bytes": stream.getvalue(),
        "image": noise(),
        "array": np.asarray(noise()),
    }
    return kinds[kind]


@pytest.mark.parametrize("kind", ["bytes", "image", "array"])
def test_image_in_memory_is_the_one_in_the_file(kind: str, tmp_path: Path) -> None:
    noise().save(tmp_path / "a.png")
    file, loaded = load_image(tmp_path / "a.png"), load_image(in_memory(kind))
    assert loaded.pixels.tobytes() == file.pixels.tobytes()
    assert (loaded.width, loaded.height) == (file.width, file.height)
    assert loaded.path == Path(f"<{kind}>")
    assert (loaded.sha256 == file.sha256) == (kind == "bytes")


def test_hash_of_a_file_is_that_of_its_bytes_also_when_it_was_known_before(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    noise().save(path)
    expected = hashlib.sha256(path.read_bytes()).hexdigest()
    assert load_image(path).sha256 == load_image(str(path)).sha256 == expected
    assert hash_file(path) == HashedFile(path, expected)
    assert load_image(HashedFile(path, "known")).sha256 == "known"


def test_hash_of_pixels_tells_shape_and_values() -> None:
    pixels = np.arange(8 * 24, dtype=np.uint8).reshape(8, 24)
    images = [pixels, pixels.reshape(24, 8), pixels + 1, pixels.copy()]
    first, turned, other, same = (load_image(image).sha256 for image in images)
    assert len({first, turned, other}) == 3
    assert first == same


@pytest.mark.parametrize("shape", [(9, 12), (9, 12, 3)])
def test_sixteen_bits_of_an_array_are_divided_by_257(shape: tuple[int, ...]) -> None:
    deep = np.random.default_rng(0).integers(0, 65536, shape, np.uint16)
    pixels = np.asarray(load_image(deep).pixels)
    expected = np.rint(deep / 257).astype(np.uint8)
    if deep.ndim == 2:
        expected = expected[..., None].repeat(3, axis=2)
    np.testing.assert_array_equal(pixels, expected)


def test_array_may_lie_in_any_order_in_memory() -> None:
    pixels = np.asarray(noise())
    turned = load_image(pixels[::-1].transpose(1, 0, 2)).pixels
    np.testing.assert_array_equal(np.asarray(turned), pixels[::-1].transpose(1, 0, 2))


@pytest.mark.parametrize(
    ("image", "came"),
    [
        (np.zeros((9, 9), np.float32), r"float32 \(9, 9\)"),
        (np.zeros((9, 9, 4), np.uint8), r"uint8 \(9, 9, 4\)"),
        (np.zeros(9, np.uint8), r"uint8 \(9,\)"),
        (np.zeros((9, 9), np.bool_), r"bool \(9, 9\)"),
        (np.zeros((0, 9), np.uint8), "at least 8 x 8 pixels, got 9 x 0"),
        (io.BytesIO(b"x"), "got BytesIO"),
        (None, "got NoneType"),
        (b"", "no reader recognises"),
        (b"no image", "no reader recognises"),
        (Image.new("RGB", (4, 9)), "at least 8 x 8"),
    ],
)
def test_what_is_no_image_in_memory_is_said_in_one_line(image: Any, came: str) -> None:
    with pytest.raises(ImageError, match=came) as caught:
        load_image(image)
    assert "\n" not in str(caught.value)


def test_photo_in_memory_is_turned_upright_like_its_file(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    noise().save(tmp_path / "a.jpg", exif=exif)
    with Image.open(tmp_path / "a.jpg") as opened:
        assert load_image(opened).pixels.size == load_image(tmp_path / "a.jpg").pixels.size


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for read in (load_image, hash_file):
        with pytest.raises(ImageError, match="pipe"):
            read(tmp_path / "pipe.png")
