"""What the papers published, as data, to be shown beside one's own statistics.

Fig. 6 and Fig. 7 of "Squeeze-and-Excitation Networks" (Hu et al., TPAMI version, arXiv 1709.01507, "Role of
excitation"): the mean gate of each channel for four classes and over all, in six blocks of SE-ResNet-50; Fig. 7 has the
mean and standard deviation over the images of one class, goldfish and plane, in the same blocks.
"""
import pandas as pd

PANELS = ("SE_2_3", "SE_3_4", "SE_4_6", "SE_5_1", "SE_5_2", "SE_5_3")
"""The blocks that Fig. 6 shows, SE_stage_block; the stem is stage 1."""

CHANNELS = dict(zip(PANELS, (256, 512, 1024, 2048, 2048, 2048)))
"""Panel → C of its block in SE-ResNet-50. Of them every s-th is drawn, s = ⌈C / 50⌉ (see ``sampled_channels``)."""

CLASSES = {"goldfish": 1, "pug": 254, "plane": 726, "cliff": 972}
"""The classes that Fig. 6 shows → their ImageNet index from 0. "plane" is the carpenter's tool, not an airliner."""

PROTOCOL = {
    "model": "SE-ResNet-50",
    "data": "ImageNet validation",
    "images a class": "50",
    "classes": "1,000",
    "line “all”": "mean over 1,000 classes",
}
"""How Fig. 6 was made. A class line is each channel's gate averaged over the class's images."""

FINDINGS = {
    "SE_2_3": "the lines of all classes nearly coincide",
    "SE_3_4": "the lines of all classes nearly coincide",
    "SE_4_6": "the gates are class-specific: different classes prefer different channels",
    "SE_5_1": "the gates are class-specific: different classes prefer different channels",
    "SE_5_2": "saturated: near 1 for every class but for a few dips (one channel near 0, index about 1353)",
    "SE_5_3": "the lines of the classes run parallel, one above the other",
}
"""What the paper says of each panel of Fig. 6, and what there is to see in it."""

LEVELS = {"SE_5_3": {"cliff": 0.27, "goldfish": 0.2, "all": 0.16, "plane": 0.08, "pug": 0.05}}
"""Panel → line → its mean level, where the figure's lines are far enough apart to tell; read off the figure by eye."""


REDUCTIONS = pd.DataFrame([
    ("no SE", 0, 23.30, 6.55, 25.6), ("r = 2", 2, 22.29, 6.00, 45.7), ("r = 4", 4, 22.25, 6.09, 35.7),
    ("r = 8", 8, 22.26, 5.99, 30.7), ("r = 16", 16, 22.28, 6.03, 28.1), ("r = 32", 32, 22.72, 6.20, 26.9),
], columns=["name", "reduction", "top1", "top5", "published"])
"""SE-ResNet-50 by reduction ratio (Hu et al., TPAMI version, Sec. 6.1): single-crop errors in %, parameters in
millions."""

SQUEEZES = {"mean": (22.28, 6.03), "max": (22.57, 6.09)}
"""Trained with this squeeze (the same, Sec. 6.2): top-1 and top-5 error in %."""

EXCITATIONS = {"sigmoid": (22.28, 6.03), "tanh": (23.00, 6.38), "ReLU": (23.47, 6.98)}
"""Trained with this excitation (the same, Sec. 6.3): top-1 and top-5 error in %."""

NETWORKS = {
    "ResNeXt-50": 22.23, "SENet-50": 21.12, "SKNet-50": 20.79, "SKNet-50, three kernels": 20.76,
    "ResNeXt-101": 21.11, "SENet-101": 20.58, "SKNet-101": 20.19,
}
"""Top-1 error in % at 224×224 (Li et al., Sec. 4.1 and 4.2); the SENets are SE-ResNeXts. The three kernels are 3×3,
5×5 and 7×7."""
