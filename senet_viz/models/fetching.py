"""Putting weights into the cache, for work without a network later."""
from pathlib import Path
from urllib.parse import urlparse

import huggingface_hub
import torch

from .cache import cache_folders
from .download import DownloadError, UnknownModel, download_error, reachable_or_cached, remote
from .loading import SOURCES, embedded_models
from .timm_weights import TWINS


def fetch(name: str) -> Path | None:
    """Put the weights of a timm or torchvision name into the cache, for ``sv.load`` to find there.

    Returns:
        The file; None for an existing name whose weights are here without ("demo/…", "timm/local-dir:…").

    Raises:
        UnknownModel, DownloadError: as ``sv.load``; UnknownModel for "file:…", too.
    """
    source, _, rest = name.partition("/")
    if source not in SOURCES or not rest:
        raise UnknownModel(f"{name!r} names no model whose weights are fetched: names begin with "
                           f"{', '.join(f'{s}/' for s in SOURCES)}.")
    if source == "demo" and name not in embedded_models():
        raise UnknownModel(f"There is no embedded model {rest!r}; there are: {', '.join(embedded_models()) or 'none'}.")
    if source == "paper" and rest not in TWINS:
        raise UnknownModel(f"paper/{rest} has no public weights; those that have are: {', '.join(TWINS)}.")
    place = remote(name)
    if place is None or (path := place.cached):
        return None if place is None else path
    try:
        if place.repository:
            reachable_or_cached(name, place)
            for file in place.files:
                try:
                    return Path(huggingface_hub.hf_hub_download(place.repository, file, revision=place.revision))
                except huggingface_hub.errors.EntryNotFoundError as error:
                    missing = error
            raise missing
        path = cache_folders()[1] / Path(urlparse(place.url).path).name
        path.parent.mkdir(parents=True, exist_ok=True)
        digest = torch.hub.HASH_REGEX.search(path.name)
        torch.hub.download_url_to_file(place.url, str(path), digest and digest.group(1))
    except (DownloadError, UnknownModel):
        raise
    except Exception as error:  # whichever client it uses, any failure means the same
        raise download_error(name, error) from error
    return path
