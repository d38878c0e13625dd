"""Training a network with channel attention on a folder or on Parquet files."""
from .ablation import ablate
from .ablation_folder import Ablation, AblationError, open_ablation
from .ablation_plan import AblationPlan, PlanError, read_plan
from .loop import train
from .monitor import CollapseWarning, Monitor
from .recipe import Recipe

__all__ = [
    "Ablation", "AblationError", "AblationPlan", "CollapseWarning", "Monitor", "PlanError", "Recipe", "ablate",
    "open_ablation", "read_plan", "train",
]
