"""Computes ``catalog.csv`` anew: ``python -m senet_viz.models.count [NAME …]``, some 10 minutes for all of it.

Each network is built with random weights, its attention blocks are found on one forward of noise, and its parameters
are counted; input size, classes, licence and where the weights are fetched from (a repository of the Hugging Face hub,
or an address) are timm's and torchvision's own. Only ``published`` of timm's networks, the top-1 in % by the side of
the input, is kept as it stands: it is from the results tables of timm 1.0.31, which its package lacks. A timm network
in which nothing was found stays in the file, for another time, and is not offered.
"""
import json
import sys

import pandas as pd
import timm
import torch
import torchvision

from ..data.places import ASSETS
from .cache import Remote
from .checkpoints import read_metadata
from .download import remote
from .listing import TABLE
from .loading import embedded_models, load

SWAG = "https://github.com/facebookresearch/SWAG/blob/main/LICENSE"
COLUMNS = ["name", "blocks", "parameters", "input", "classes", "published", "licence", "repository", "url"]


def count(name: str, published: str = "") -> dict:
    """One row: blocks by kind, parameters, side of the input, classes, published top-1, licence, where from."""
    model = load(name, device="cpu", pretrained=False)
    kinds = pd.Series([block.kind for block in model.blocks], dtype=str).value_counts()
    licence, (source, _, rest) = "", name.partition("/")
    if source == "timm":
        config = timm.get_pretrained_cfg(rest)
        licence = (config and config.license) or ""
    elif source == "torchvision":
        meta = torchvision.models.get_model_weights(rest).DEFAULT.meta
        licence = {SWAG: "cc-by-nc-4.0"}.get(meta.get("license"), meta.get("license", ""))  # as timm has it
        published = f"{model.input_size[0]}:{meta['_metrics']['ImageNet-1K']['acc@1']}"
    else:
        accuracy = read_metadata(ASSETS / "models" / f"{rest}.safetensors")["accuracy"]
        published, licence = f"{model.input_size[0]}:{100 * accuracy['top1']:.1f}", "MIT"
    return {"name": name, "blocks": json.dumps(kinds.to_dict()), "parameters": model.parameters,
            "input": model.input_size[0], "classes": len(model.classes), "published": published, "licence": licence,
            **place(name)}


def place(name: str) -> dict[str, str]:
    """Where the weights of a network are fetched from, as the table has it; both empty where they are embedded.

    Raises:
        ValueError: for a revision or file of a repository, which the table has no column for.
    """
    found = remote(name) or Remote()
    if found != Remote(repository=found.repository, url=found.url):
        raise ValueError(f"the weights of {name} are not in the newest revision and usual files of {found.repository}")
    return {"repository": found.repository, "url": found.url}


def main(names: list[str]) -> None:
    """Count these networks, or all of the table and of torchvision's list, and write the table."""
    table = pd.read_csv(TABLE, keep_default_na=False).set_index("name", drop=False)
    everything = [*embedded_models(), *(name for name in table["name"] if name.startswith("timm/")),
                  *(f"torchvision/{name}" for name in torchvision.models.list_models(module=torchvision.models))]
    rows = table.to_dict("index")
    for name in names or everything:
        torch.manual_seed(0)
        try:
            rows[name] = count(name, rows.get(name, {}).get("published", ""))
        except ValueError as error:  # a default of torchvision whose weights want another size than its architecture
            print(name, error, flush=True)
            continue
        print(name, rows[name]["blocks"], flush=True)
    listed = [rows[name] for name in everything
              if name in rows and (rows[name]["blocks"] != "{}" or name.startswith("timm/"))]
    pd.DataFrame(listed, columns=COLUMNS).to_csv(TABLE, index=False)


if __name__ == "__main__":
    main(sys.argv[1:])
