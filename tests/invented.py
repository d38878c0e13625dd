"""An ablation's folder with answers that nobody trained for, of known differences."""
import json
from pathlib import Path

import numpy as np
import pandas as pd

from senet_viz.training.ablation_folder import ABLATION, PLAN, write_tables
from senet_viz.training.ablation_plan import read_plan

ROOT = Path(__file__).resolve().parents[1]
EMBEDDED = ROOT / "assets" / "ablations" / "plan.toml"
IMAGES = 1000


def invented(out: Path, plan: Path = EMBEDDED, seeds: int = 2, change: dict[str, float] | None = None,
             diverged: tuple[tuple[str, int], ...] = ()) -> Path:
    """Write one: the reference is right for half of the pictures, a variant for as much more as ``change`` says.

    Args:
        out: the folder.
        plan: of it.
        seeds: trained with, the first of the plan.
        change: variant → of top-1, 0..1; 0 for others.
        diverged: trainings that did.
    """
    parsed, random = read_plan(plan), np.random.default_rng(0)
    difficulty = random.permutation(IMAGES) / IMAGES
    for name, seed in parsed.trainings:
        if seed not in parsed.seeds[:seeds]:
            continue
        folder = out / name / str(seed)
        folder.mkdir(parents=True)
        top1 = difficulty + random.normal(0, 0.02, IMAGES) < 0.5 + (change or {}).get(name, 0) + seed / 1000
        facts = {"variant": name, "seed": seed, "status": "trained", "epochs": 16, "losses": [4.0, 3.0],
                 "images": IMAGES, "parameters": 400_000 + len(name), "macs": 8_000_000, "seconds": 350.0, "blocks": 16,
                 "dimension": None if parsed.variants[name].attention == "none" else 2.0 + len(name) / 10,
                 "dimension_least": 1.3, "collapsed": 0}
        if (name, seed) in diverged:
            facts["status"] = "diverged"
        else:
            facts |= {"top1": float(top1.mean()), "top5": float((top1 | (difficulty < 0.8)).mean())}
            pd.DataFrame({"index": range(IMAGES), "label": 0, "top1": top1, "top5": top1 | (difficulty < 0.8)}
                         ).to_parquet(folder / "correct.parquet", index=False)
        (folder / "training.json").write_text(json.dumps(facts))
    (out / PLAN).write_text(plan.read_text())
    about = {"format": 1, "plan": json.loads(json.dumps(parsed.meaning())), "device": "cpu", "threads": 1,
             "precision": "fp32", "versions": {}, "data": {
                 "name": "invented", "training_pictures": 15_000, "validation_pictures": IMAGES, "classes": 100}}
    write_tables(out, parsed, about)
    assert (out / ABLATION).is_file()
    return out
