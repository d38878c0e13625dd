"""Photos and samples, and what the network saw in each."""
import hashlib
import io
from collections.abc import Callable, Container
from dataclasses import dataclass, replace
from functools import cache, cached_property

import pandas as pd
import streamlit as st
import torch
from PIL import Image

import senet_viz as sv
from pages.parts.choices import recall, remember
from pages.parts.keeping import kept
from pages.parts.model import Loaded
from pages.parts.sentences import SENTENCES, in_a_sentence
from senet_viz import figures, tables
from senet_viz.data import images
from senet_viz.data.places import APP, ASSETS
from senet_viz.experiments import looking
from senet_viz.experiments.looking import Look
from senet_viz.experiments.overlays import Photo
from senet_viz.figures.maps import Panel
from senet_viz.gates.inspection import Point
from senet_viz.reports.text import plain

SAMPLES = ASSETS / "samples"
MAX_PICTURES = 16
SHOWN_FIRST = 2  # samples, for whoever has chosen nothing yet
SHOWN = 1600  # pixels of a whole photo's longer side; downloads have all
MAX_BYTES = 160 << 20  # of all photos of one visitor
NO_STAGES = ("In this network no module gives the feature map of a stage, once a forward: there is no place for "
             "Grad-CAM.")


@dataclass
class Picture:
    """An upload or a sample; ``path`` is what a script would open."""

    name: str
    path: str
    data: bytes

    @cached_property
    def digest(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


@cache
def _samples() -> dict[str, Picture]:
    return {name: Picture(name, str(path.relative_to(APP)), path.read_bytes())
            for path in sorted(SAMPLES.glob("*.jpg")) if (name := path.stem.replace("_", " "))}


def choose_pictures() -> list[Picture]:
    """Uploads and chosen samples, at most ``MAX_PICTURES``, the same on every page; what does not fit is said."""
    samples, photos = _samples(), st.session_state.setdefault("photos", {})
    row = st.container(horizontal=True)  # one below the other where the window is narrow
    with row.container(width=400):
        uploads = st.file_uploader(
            f"Your photos (up to {MAX_PICTURES})", accept_multiple_files=True, key="uploads", on_change=_take,
            max_upload_size=images.MAX_BYTES >> 20,
            help="JPEG, PNG, WebP, GIF (first frame), BMP or TIFF, at most 20 MB and 50 megapixels each. They stay in "
                 "the memory of the server, for all pages, and are not stored.")
        st.session_state["in_uploader"] = {upload.file_id for upload in uploads}
        before = [key for key in photos if key not in st.session_state["in_uploader"]]
        if before:
            st.session_state["photos_before"] = before
            st.multiselect("Uploaded before", before, key="photos_before", on_change=_remove, args=(before,),
                           format_func=lambda key: photos[key].name if key in photos else "",
                           help="The cross removes a photo, from all pages and from the server's memory.")
    with row.container(width=440):
        recall("sample", "sample")
        chosen = st.pills("Sample pictures", list(samples), selection_mode="multi", default=list(samples)[:SHOWN_FIRST],
                          key="sample", bind="query-params", wrap=True)
        remember("sample", "sample")
    _remember_uploads([photo.name for photo in photos.values()])
    pictures = list(photos.values())
    for name in chosen:
        taken = unused(name, {picture.name for picture in pictures})
        pictures.append(samples[name] if taken == name else replace(samples[name], name=taken))
    given = len(pictures) + st.session_state.get("beyond", 0)
    if given > MAX_PICTURES:
        st.error(f"{given} pictures were given; the page shows the first {MAX_PICTURES}.", icon=":material/error:")
    if heavy := st.session_state.get("heavy"):
        st.error(f"{plain(', '.join(heavy))}: there is no more room: photos may have {MAX_BYTES >> 20} MB together.",
                 icon=":material/error:")
    return pictures[:MAX_PICTURES]


def unused(name: str, taken: Container[str]) -> str:
    """A name that is not taken, with a number behind it where it has to be."""
    found, copy = name, 1
    while found in taken:
        copy += 1
        found = f"{name} ({copy})"
    return found


def _take() -> None:
    """Keep what was added to the uploader, let go what was removed from it; a page that is left empties it."""
    photos, uploads = st.session_state["photos"], st.session_state.get("uploads")
    if uploads is None:  # the page was left, see ``clicked``
        return
    if not photos and uploads and st.session_state.get("sample") == list(_samples())[:SHOWN_FIRST]:
        st.session_state["sample"] = []  # they showed what the page does, until there is something of one's own
    for key in st.session_state.get("in_uploader", set()) - {upload.file_id for upload in uploads}:
        photos.pop(key, None)
    beyond, heavy = 0, []
    for upload in uploads:
        if upload.file_id in photos:
            continue
        if len(photos) >= MAX_PICTURES:
            beyond += 1
        elif upload.size + sum(len(photo.data) for photo in photos.values()) > MAX_BYTES:
            heavy.append(upload.name)
        else:
            name = unused(upload.name, {photo.name for photo in photos.values()})
            photos[upload.file_id] = Picture(name, upload.name, upload.getvalue())
    st.session_state.update(beyond=beyond, heavy=heavy)


def _remove(before: list[str]) -> None:
    for key in set(before) - set(st.session_state.get("photos_before", before)):  # where the page was left: none
        st.session_state["photos"].pop(key, None)
    st.session_state.update(beyond=0, heavy=[])


def choose_one(pictures: list[Picture], key: str) -> Picture:
    """One of the pictures, the same on every page until another is chosen; one that is gone gives way to the first."""
    names = [picture.name for picture in pictures]
    if st.session_state.get(key) not in names:
        st.session_state.pop(key, None)
    if len(names) == 1:
        return pictures[0]
    recall(key, "photo", names)
    name = st.selectbox("Photo", names, key=key, width=260)
    remember(key, "photo")
    return pictures[names.index(name)]


def _remember_uploads(names: list[str]) -> None:
    """Keep the names of uploads in the link: a picture cannot travel in it, but its reader learns what is missing."""
    if names:
        st.session_state["had_uploads"] = True
        st.query_params["photo"] = names
    elif st.session_state.get("had_uploads"):
        st.query_params.pop("photo", None)
    elif missing := st.query_params.get_all("photo"):
        st.info(f"This link also showed {plain(', '.join(missing))}, which {'was' if len(missing) == 1 else 'were'} "
                f"uploaded and cannot travel in a link: upload {'it' if len(missing) == 1 else 'them'} to see the "
                f"whole page.",
                icon=":material/image_not_supported:")


# Feature maps and graph of a picture are large, 0.5 GB in SENet-154, and sixteen pictures are shown at once. They are
# one value, which may fall out of what is kept, and pages hold none of it. What is small of a picture (`_glance`), what
# its maps weigh, and single maps that were asked for are values of their own.
@kept()
@in_a_sentence
def _look(key: str, digest: str, _model: sv.Model, _data: bytes) -> Look:
    return looking.look(_model, sv.open_image(_data))


@kept()
def _glance(key: str, digest: str, _model: sv.Model, _data: bytes) -> Look:
    look = _look(key, digest, _model, _data)
    # while all of it is here: what every page with pictures begins with
    _weighed(key, digest, lambda: look.view)
    for point in look.view.features:
        if point[0] == _model.blocks[-1].name:
            _map(key, digest, point, lambda: look.view)
    return replace(look, view=looking.lighter(look.view))


@kept()
def _weighed(key: str, digest: str, _view: Callable[[], sv.View]) -> pd.DataFrame:
    return tables.contributions({"": _view()})


@kept()
def _map(key: str, digest: str, point: Point, _view: Callable[[], sv.View]) -> torch.Tensor:
    return _view().features[point]


def inspect_all(loaded: Loaded, pictures: list[Picture]) -> dict[str, Look]:
    """One forward for each new picture; what cannot be read or run is said in a sentence and left out.

    The views hold no feature maps and no graph: these are asked of what is kept, or made by another forward.
    """
    results, place = {}, st.empty()
    for number, picture in enumerate(pictures, 1):
        if len(pictures) > 1:
            place.progress(number / len(pictures), f"Looking at picture {number} of {len(pictures)}")
        try:
            look = _glance(loaded.key, picture.digest, loaded.model, picture.data)
            results[picture.name] = replace(look, view=_with_maps(look.view, loaded, picture))
        except SENTENCES as error:
            st.error(f"**{plain(picture.name)}**: {plain(str(error))}", icon=":material/error:")
    place.empty()
    return results


def _with_maps(view: sv.View, loaded: Loaded, picture: Picture) -> sv.View:
    def again() -> sv.View:
        return _look(loaded.key, picture.digest, loaded.model, picture.data).view

    return looking.with_maps(view, again, lambda point: _map(loaded.key, picture.digest, point, again))


def weigh(loaded: Loaded, picture: Picture) -> pd.DataFrame:
    """What the maps of a picture weigh in what follows: ``tables.contributions`` of it alone."""
    return _weighed(loaded.key, picture.digest, lambda: _look(
        loaded.key, picture.digest, loaded.model, picture.data).view)


@kept("Finding the part of the photo that the network saw")
@in_a_sentence
def _whole(key: str, digest: str, _model: sv.Model, _data: bytes) -> tuple[bytes, tuple]:
    photo, buffer = Photo.of(_model, sv.open_image(_data), SHOWN), io.BytesIO()
    photo.image.save(buffer, "JPEG", quality=92)  # a tenth of its pixels
    return buffer.getvalue(), photo.box


def whole(loaded: Loaded, picture: Picture) -> Photo:
    """A picture as it was taken, of at most ``SHOWN`` pixels a side, and the part of it that the network saw.

    Raises:
        ValueError: one sentence, for a transform that cannot be followed.
    """
    data, box = _whole(loaded.key, picture.digest, loaded.model, picture.data)
    return Photo(Image.open(io.BytesIO(data)), box)


def over_photo(photo: Image.Image, box: tuple, panel: Panel, opacity: float, smooth: bool) -> Image.Image:
    """A map of a figure over a whole photo."""
    return figures.overlay(photo, panel.values, box, top=panel.top, signed=panel.diverging, opacity=opacity,
                           smooth=smooth)


def full_size(model: sv.Model, picture: Picture, panel: Panel, opacity: float, smooth: bool) -> bytes:
    """A map of a figure over a whole photo, as large as it was taken, as PNG."""
    photo, buffer = sv.open_image(picture.data), io.BytesIO()
    over_photo(photo, model.window(photo.size), panel, opacity, smooth).save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()


def explain(key: str, digest: str, target: int, view: sv.View) -> tuple[dict, dict]:
    """Grad-CAM and channel weights for one class, from the graph that the view kept: no forward.

    Args:
        key: of the model.
        digest: of the picture.
        target: the class, in a segmentation over its own pixels.
        view: of the picture.
    """
    # pages look at a picture at different points: what one has kept is not what another asks for
    return _explain(key, digest, target, tuple(map(str, view.cams)), view)


@kept()
def _explain(key: str, digest: str, target: int, points: tuple[str, ...], _view: sv.View) -> tuple[dict, dict]:
    return looking.explain(_view, target)
