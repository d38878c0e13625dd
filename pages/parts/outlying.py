"""The few pictures that carry a number, as thumbnails, where they are at hand."""
import logging
from collections.abc import Callable
from pathlib import PurePosixPath

import pandas as pd
import streamlit as st
from PIL import Image

import senet_viz as sv
from pages.parts.keeping import kept
from pages.parts.sentences import SENTENCES
from senet_viz.data.datasets import Pictures, open_pictures
from senet_viz.data.images import thumbnail
from senet_viz.reports.text import plain

LOG = logging.getLogger(__name__)
WIDTH = 96  # pixels
SOURCES = {"gate": "gate", "squeeze": "squeezed input z"}


def outlying(stats: sv.Statistics, table: pd.DataFrame) -> None:
    """Show the pictures of ``directions.outliers``, or say that they are not here."""
    if table.empty:
        return
    first = table.drop_duplicates("index").set_index("index")
    try:
        find = _own(stats) or _operators(stats)
        images = None if find is None else [find(int(index)) for index in first.index]
    except SENTENCES:  # their messages name places on the server
        LOG.exception("the pictures that --data names")
        st.error("The farthest pictures cannot be opened; the server's log says why.", icon=":material/error:")
        return
    if images is None:
        st.caption("The farthest pictures are not at hand here, so that they are named and not shown.")
        return
    with st.container(horizontal=True):
        for image, (index, row) in zip(images, first.iterrows()):
            where = " and ".join(SOURCES[source] for source in table.loc[table["index"] == index, "source"])
            known = f" ({plain(row['class'])})" if row["class"] else ""
            st.image(image, width=WIDTH, alt=f"{row['file']}, among the farthest in the {where}",
                     caption=f"{plain(PurePosixPath(row['file']).name)}{known}, {where}")


def _own(stats: sv.Statistics) -> Callable[[int], Image.Image] | None:
    """Those of a run that this visitor started."""
    return next((held.job.outlying.__getitem__ for held in st.session_state.get("jobs", [])
                 if held.job.out == str(stats.path)), None)


def _operators(stats: sv.Statistics) -> Callable[[int], Image.Image] | None:
    """Those of data that whoever started the server named; no address that an archive holds is followed."""
    for source, *split in st.session_state.get("data", []):
        pictures, fingerprint = _open(source, " ".join(split) or None)
        if fingerprint == stats.metadata["pictures"]:  # the same files under the same numbers
            return lambda index: _thumbnail(fingerprint, index, pictures)
    return None


@kept("Opening the data set")
def _open(source: str, split: str | None) -> tuple[Pictures, str]:
    pictures = open_pictures(source, split, in_memory=False)
    return pictures, pictures.fingerprint


@kept()
def _thumbnail(fingerprint: str, index: int, _pictures: Pictures) -> Image.Image:
    return thumbnail(_pictures.read(index))
