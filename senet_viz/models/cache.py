"""Where weights are fetched from, and whether they are in this machine's caches; without torch, which takes seconds."""
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlparse

import huggingface_hub.constants

WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # a hub repository's


@dataclass(frozen=True)
class Remote:
    """Where weights come from: a repository of the Hugging Face hub, or an address.

    Attributes:
        repository: "timm/seresnet50.ra2_in1k"; "" where it is an address.
        revision: of the repository; None for its newest.
        files: the first of them that the repository has is the one.
        url: the address of the one file.
    """

    repository: str = ""
    revision: str | None = None
    files: tuple[str, ...] = WEIGHTS
    url: str = ""

    @property
    def cached(self) -> Path | None:
        """The file in the cache; None while it is not there."""
        if self.url:
            path = cache_folders()[1] / Path(urlparse(self.url).path).name
            return path if path.is_file() else None
        found = (huggingface_hub.try_to_load_from_cache(self.repository, file, revision=self.revision)
                 for file in self.files)
        return next((Path(path) for path in found if isinstance(path, str)), None)


def cache_folders() -> list[Path]:
    """Where downloaded weights are kept: the Hugging Face hub's folder and torch's."""
    return [Path(huggingface_hub.constants.HF_HUB_CACHE), _torch_hub() / "checkpoints"]


def _torch_hub() -> Path:
    """What ``torch.hub.get_dir`` says; where torch is not loaded, nobody has set another folder, and its rule holds."""
    if loaded := getattr(sys.modules.get("torch"), "hub", None):
        return Path(loaded.get_dir())
    home = Path(os.getenv("XDG_CACHE_HOME", "~/.cache"), "torch")
    return Path(os.getenv("TORCH_HOME", home)).expanduser() / "hub"
