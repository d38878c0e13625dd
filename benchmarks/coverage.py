"""Are the gates of every public network found? One row a network, and a summary.

``python benchmarks/coverage.py [--max-parameters 1000] [--only TEXT] [--anew] [--threads 1] [--out FOLDER]``; see
docs/finding_gates.md. Run again, it goes on with the networks that its table lacks.

For each architecture, with random weights and one picture of noise of its own input size: the blocks found beside the
number expected; whether gate · input is the output in each, and whether each gate came once in one forward; whether
every hook is off again. Expected is the number of modules of the libraries' attention classes that run. Networks
without channel attention must have none.
"""
import argparse
import gc
import platform
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pandas as pd
import timm
import torch
import torchvision
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from senet_viz.gates import find_blocks
from senet_viz.gates.hooks import hooked
from senet_viz.gates.points import on_branch, on_gate, on_output
from senet_viz.models.listing import TABLE

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
COLUMNS = ["group", "network", "parameters, M", "input", "expected", "found", "kinds", "error", "unchecked", "not once",
           "hooks left", "search / forward", "note"]
TOLERANCE = 1e-4  # of the largest value of the output
# of timm, torchvision and transformers
CLASSES = ("SEModule", "SqueezeExcite", "EffectiveSEModule", "EseModule", "EcaModule", "CecaModule", "SelectiveKernel",
           "SplitAttn", "GlobalContext", "ChannelAttn", "LightChannelAttn", "GatherExcite", "SqueezeExcitation",
           "RegNetSELayer", "EfficientNetSqueezeExciteLayer", "PPLCNetSqueezeExcitationModule")
WITHOUT = ("resnet50", "convnext_tiny", "convnextv2_atto", "vit_tiny_patch16_224", "swin_tiny_patch4_window7_224",
           "swinv2_tiny_window8_256", "davit_tiny", "mixer_s32_224", "gmlp_s16_224", "resmlp_12_224", "poolformer_s12",
           "coat_tiny", "xcit_nano_12_p16_224", "edgenext_xx_small", "repvgg_a0", "densenet121", "dpn68",
           "focalnet_tiny_srf", "starnet_s1", "efficientvit_b0", "mobilevitv2_050", "gcresnet50t", "gcresnext26ts")


def check(module: nn.Module, example: torch.Tensor) -> dict:
    """Blocks found, the largest relative error of gate · input against output, and gates that did not come once."""
    start = time.perf_counter()
    with torch.no_grad():
        module(example)
    forward = time.perf_counter() - start
    start = time.perf_counter()
    blocks = find_blocks(module, example)
    search = time.perf_counter() - start
    gates, maps, errors, counts = {}, {}, {}, Counter()

    def gated(block, gate, first):
        counts[block.name] += gate.shape[1]
        gates.setdefault(block.name, {}).update({first + m: gate[:, m, :, None, None] for m in range(gate.shape[1])})

    def mapped(block, m, value):
        maps.setdefault(block.name, {})[m] = value.clone()

    def left(block, output):
        product = sum(gates[block.name][m] * maps[block.name].pop(m) for m in range(block.branches))
        errors[block.name] = float((product - output).abs().max() / output.abs().max().clamp_min(1e-12))

    with hooked(module) as hooks, torch.no_grad():
        for block in blocks:
            for m in range(block.branches):
                on_branch(hooks, block, m, partial(mapped, block, m))
            on_gate(hooks, block, partial(gated, block))
            if block.branches == 1 or block.output:
                on_output(hooks, block, partial(left, block))
        module(example)
    return {
        "found": len(blocks), "kinds": ", ".join(f"{n} {kind}" for kind, n in Counter(b.kind for b in blocks).items()),
        "unchecked": sum(block.name not in errors for block in blocks), "error": max(errors.values(), default=0.0),
        "not once": sum(counts[block.name] != block.branches for block in blocks),
        "hooks left": sum(len(getattr(part, hooks)) for part in module.modules() for hooks in HOOKS),
        "search / forward": search / forward}


def expected_in(module: nn.Module, example: torch.Tensor) -> tuple[int, str]:
    """How many modules of known attention classes run, and a word on those that hold no gate."""
    ran: set[str] = set()
    handles = [part.register_forward_hook(lambda *_, path=path: ran.add(path)) for path, part in module.named_modules()
               if type(part).__name__ in CLASSES]
    with torch.no_grad():
        module(example)
    for handle in handles:
        handle.remove()
    additive = [path for path in ran if type(part := module.get_submodule(path)).__name__ == "GlobalContext"
                and part.mlp_scale is None]
    return len(ran) - len(additive), f"{len(additive)} additive, which are no gates" if additive else ""


def timm_networks() -> Iterator[tuple[str, str, Callable[[], tuple[nn.Module, torch.Size]]]]:
    """Every distinct architecture of the catalogue, then some without channel attention."""
    names = pd.read_csv(TABLE)["name"]
    names = names[names.str.startswith("timm/")].str[5:].str.split(".").str[0].drop_duplicates()
    for group, chosen in (("timm", names), ("timm, no channel attention", WITHOUT)):
        for name in chosen:
            yield group, name, partial(_timm, name)


def _timm(name: str):
    module = timm.create_model(name)
    return module, module.pretrained_cfg["input_size"]


def torchvision_networks():
    """All classification models."""
    for name in torchvision.models.list_models(module=torchvision.models):
        yield "torchvision", name, partial(_torchvision, name)


def _torchvision(name: str):
    options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    return torchvision.models.get_model(name, **options), (3, 299, 299) if name == "inception_v3" else (3, 224, 224)


def transformers_networks():
    """The classes with squeeze-excite, where transformers is installed."""
    try:
        import transformers
    except ImportError:
        print("transformers is not installed: its networks are left out")
        return
    for name in ("RegNet", "EfficientNet", "PPLCNet"):
        config, cls = (getattr(transformers, name + end, None) for end in ("Config", "ForImageClassification"))
        if cls is not None:
            yield "transformers", cls.__name__, lambda config=config, cls=cls: (cls(config()), (3, 224, 224))


def run(make: Callable, limit: float) -> dict:
    """One row of the table; what could not be looked at has its reason in "note"."""
    try:
        with torch.device("meta"):
            parameters = sum(p.numel() for p in make()[0].parameters()) / 1e6
    except Exception:  # some constructors compute with values
        parameters = float("nan")
    if parameters > limit:
        return {"parameters, M": parameters, "note": f"more than {limit:g} M parameters: not tried"}
    torch.manual_seed(0)
    try:
        module, size = make()
        example = torch.randn(1, *size)
        module.eval()
        count, note = expected_in(module, example)
        return {"parameters, M": sum(p.numel() for p in module.parameters()) / 1e6, "input": size[-1],
                "expected": count, **check(module, example), "note": note}
    except Exception as error:
        return {"parameters, M": parameters, "note": f"{type(error).__name__}: {str(error).splitlines()[0]}"}


def summary(rows: pd.DataFrame) -> str:
    """The table by libraries, and the networks that need a word."""
    lines = ["| networks | tried | blocks expected | found | all found, none too many | gate · input ≠ output | "
             "gate not once | hooks left | not tried |",
             "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"]
    for group, part in rows.groupby("group", sort=False):
        tried = part.dropna(subset="found")
        lines.append(
            f"| {group} | {len(tried)} | {tried['expected'].sum():.0f} | {tried['found'].sum():.0f} | "
            f"{(tried['expected'] == tried['found']).sum()} | {(tried['error'] > TOLERANCE).sum()} | "
            f"{tried['not once'].sum():.0f} | {tried['hooks left'].sum():.0f} | {len(part) - len(tried)} |")
    odd = rows[rows["found"].isna() | (rows["expected"] != rows["found"]) | (rows["note"].fillna("") != "")
               | (rows["error"] > TOLERANCE) | (rows["unchecked"] > 0)]
    if len(odd):
        lines += ["", "| network | expected | found | note |", "| --- | ---: | ---: | --- |"]
        lines += [f"| {row.network} | {row.expected:.0f} | {row.found:.0f} | {row.note} |" for row in odd.itertuples()]
    ratio = rows["search / forward"].dropna()
    if len(ratio):
        lines += ["", f"Search / forward, one picture: median {ratio.median():.2f}, largest {ratio.max():.2f}."]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--max-parameters", type=float, default=1000, help="in millions; larger networks are left out")
    parser.add_argument("--anew", action="store_true", help="look again at what the table of an earlier run has")
    parser.add_argument("--only", default="", help="networks whose name contains this")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results", help="folder for the two tables")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / "coverage.csv"
    known = pd.read_csv(path).dropna(subset="found") if path.exists() and not args.anew else pd.DataFrame(
        columns=COLUMNS)
    known = {(row["group"], row["network"]): row for row in known.to_dict("records")}
    rows = {}
    for group, name, make in (*timm_networks(), *torchvision_networks(), *transformers_networks()):
        if (group, name) in known:
            rows[group, name] = known[group, name]
        elif args.only in name:
            row = rows[group, name] = {"group": group, "network": name, **run(make, args.max_parameters)}
            print(*(f"{key} {value}" for key, value in row.items()), sep="; ", flush=True)
            gc.collect()
            pd.DataFrame((known | rows).values(), columns=COLUMNS).to_csv(path, index=False, float_format="%.4g")
    table = pd.DataFrame(rows.values(), columns=COLUMNS)
    text = (f"torch {torch.__version__}, timm {timm.__version__}, torchvision {torchvision.__version__}, random "
            f"weights, {platform.machine()}\n\n{summary(table)}")
    (args.out / "coverage.md").write_text(text)
    print("\n" + text)


if __name__ == "__main__":
    main()
