"""What is said in one sentence: errors, and what a network does not give."""
import logging
from functools import wraps

import streamlit as st

import senet_viz as sv
from senet_viz.gates.answers import CLASSIFICATION
from senet_viz.reports.text import plain

LOG = logging.getLogger(__name__)
# errors whose message is a sentence for the person at the page
SENTENCES = (ValueError, OSError, RuntimeError, ImportError)


def in_a_sentence(function):
    """Turn any other exception into one that the page shows: networks of one's own fail wherever they like."""
    @wraps(function)
    def wrapped(*args, **kwargs):
        try:
            return function(*args, **kwargs)
        except SENTENCES:
            raise
        except Exception as error:
            LOG.exception("shown on the page as one sentence")
            raise ValueError(f"The network fails ({type(error).__name__}: {' '.join(str(error).split())}).") from error
    return wrapped


def lacking(model: sv.Model, what: str) -> bool:
    """Whether a network gives no logits of classes, which is then said.

    Args:
        model: the network.
        what: is therefore not here, as the end of a sentence.
    """
    if model.answer.task == CLASSIFICATION:
        return False
    st.info(plain(model.answer.lacks(what)), icon=":material/info:")
    return True
