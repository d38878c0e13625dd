"""Weights that are fetched: where from, by name, and what is said when they do not arrive."""
import difflib
import http.client
from pathlib import Path
from urllib.error import URLError

import huggingface_hub
import timm
import torchvision
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from .cache import WEIGHTS, Remote, cache_folders
from .checkpoints import first_line
from .timm_weights import TWINS

NETWORK_ERRORS = (
    URLError, http.client.HTTPException, ConnectionError, TimeoutError, huggingface_hub.errors.HfHubHTTPError,
    huggingface_hub.errors.LocalEntryNotFoundError, huggingface_hub.errors.OfflineModeIsEnabled,
)


class UnknownModel(ValueError):
    """A name that no source of models knows; the message is one sentence."""


class DownloadError(OSError):
    """Weights that could not be fetched; the message is one sentence naming the model and the cache folder."""


def remote(name: str, weights: bool = True) -> Remote | None:
    """Where the weights of a name are fetched from; None where nothing is.

    Args:
        name: as ``sv.load`` takes it.
        weights: False asks only for what the architecture needs, which is nothing but for ``hf-hub:``.

    Raises:
        UnknownModel: for a timm or torchvision name that does not exist or has no weights, and what can be no name of a
            repository.
    """
    source, _, rest = name.partition("/")
    if source == "paper" and rest in TWINS:
        source, rest = "timm", TWINS[rest]
    if source == "timm" and rest:
        return _timm(rest, weights)
    return _torchvision(rest) if source == "torchvision" and rest else None


def _timm(name: str, weights: bool) -> Remote | None:
    if name.startswith("local-dir:"):
        if not Path(name[10:]).is_dir():
            raise UnknownModel(f"There is no folder {name[10:]}.")
        return None
    if name.startswith(("hf-hub:", "hf_hub:")):
        repository, _, revision = name[7:].partition("@")
        try:
            validate_repo_id(repository)
        except HFValidationError as error:
            raise UnknownModel(f"{repository!r} is no name of a repository of the Hugging Face hub.") from error
        return Remote(repository, revision or None, WEIGHTS if weights else ("config.json",))
    if not timm.is_model(name):
        close = difflib.get_close_matches(name.split(".")[0], timm.list_models(), n=3)
        raise UnknownModel(f"timm has no model {name!r}{'; near to it are ' + ', '.join(close) if close else ''}.")
    try:
        config = timm.get_pretrained_cfg(name)
    except (RuntimeError, KeyError) as error:
        raise UnknownModel(f"timm has no pretrained weights {name!r} ({error}).") from error
    if not weights:
        return None
    if config is None or not config.has_weights:
        raise UnknownModel(f"timm has the architecture {name!r} but no pretrained weights for it.")
    if config.hf_hub_id:
        repository, _, revision = config.hf_hub_id.partition("@")
        return Remote(repository, revision or None, (config.hf_hub_filename,) if config.hf_hub_filename else WEIGHTS)
    return Remote(url=str(config.url or ""))


def _torchvision(name: str) -> Remote:
    models = torchvision.models
    known = [each for module in (models, models.segmentation, models.detection)
             for each in models.list_models(module=module)]
    if name not in known:
        close = difflib.get_close_matches(name, known, n=3)
        raise UnknownModel(f"torchvision has no classification, segmentation or detection model {name!r}"
                           f"{'; near to it are ' + ', '.join(close) if close else ''}.")
    return Remote(url=torchvision.models.get_model_weights(name).DEFAULT.url)


def reachable_or_cached(name: str, place: Remote) -> None:
    """Ask once whether the hub answers: its client tries for half a minute before it says that there is no network."""
    try:
        if place.cached is None:
            huggingface_hub.get_session().head(huggingface_hub.constants.ENDPOINT, timeout=10)
    except Exception as error:  # whichever client it uses, any failure means the same
        raise download_error(name, error) from error


def download_error(name: str, error: Exception) -> DownloadError:
    """The sentence about weights that did not arrive."""
    return DownloadError(f"The weights of {name} could not be downloaded and are not in the cache folders "
                         f"{' and '.join(map(str, cache_folders()))} ({first_line(error)}); the embedded models work "
                         f"without a network.")
