"""Errors that are shown as one sentence."""
import logging
from functools import wraps

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
