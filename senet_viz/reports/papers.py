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

COMPLEXITY = {"ResNet-50": 3.86, "SE-ResNet-50": 3.87}
"""GFLOPs of one picture of 224×224 (the same, Sec. 4), from which the paper takes that SE adds 0.26 %."""

SQUEEZES = {"mean": (22.28, 6.03), "max": (22.57, 6.09)}
"""Trained with this squeeze (the same, Sec. 6.2): top-1 and top-5 error in %."""

EXCITATIONS = {"sigmoid": (22.28, 6.03), "tanh": (23.00, 6.38), "ReLU": (23.47, 6.98)}
"""Trained with this excitation (the same, Sec. 6.3): top-1 and top-5 error in %."""

ABLATIONS = pd.DataFrame([
    *[("squeeze", name, *errors, None, "6.2") for name, errors in SQUEEZES.items()],
    ("squeeze", "none", 22.93, 6.39, None, "7.1"),
    *[("excitation", name, *errors, None, "6.3") for name, errors in EXCITATIONS.items()],
    ("stages with SE", "no SE", 23.30, 6.55, 25.6, "6.4"),
    ("stages with SE", "stage 2", 23.03, 6.48, None, "6.4"),
    ("stages with SE", "stage 3", 23.04, 6.32, None, "6.4"),
    ("stages with SE", "stage 4", 22.68, 6.22, None, "6.4"),
    ("stages with SE", "all stages", 22.28, 6.03, 28.1, "6.4"),
    ("placement", "standard", 22.28, 6.03, 28.1, "6.5"),
    ("placement", "PRE", 22.23, 6.00, None, "6.5"),
    ("placement", "POST", 22.78, 6.35, None, "6.5"),
    ("placement", "Identity", 22.20, 6.15, None, "6.5"),
    ("placement", "3×3", 22.48, 6.02, 25.8, "6.5"),
], columns=["question", "choice", "top1", "top5", "published", "section"])
"""SE-ResNet-50 trained with another squeeze, another excitation, SE in one stage, or SE at another place of the unit
(Hu et al., TPAMI version): single-crop errors in %, parameters in millions (nan where the paper's table has none), and
the section. Without FC biases, r = 16. No squeeze means the two layers as 1×1 convolutions over the whole map."""

SE_NETWORKS = pd.DataFrame([
    ("ResNet-50", 24.80, 7.48, 23.29, 6.62, "5.1"),
    ("ResNet-101", 23.17, 6.52, 22.38, 6.07, "5.1"),
    ("ResNet-152", 22.42, 6.34, 21.57, 5.73, "5.1"),
    ("ResNeXt-50", 22.11, 5.90, 21.10, 5.49, "5.1"),
    ("ResNeXt-101", 21.18, 5.57, 20.70, 5.01, "5.1"),
    ("VGG-16 with BN", 27.02, 8.81, 25.22, 7.70, "5.1"),
    ("BN-Inception", 25.38, 7.89, 24.23, 7.14, "5.1"),
    ("Inception-ResNet-v2", 20.37, 5.21, 19.80, 4.79, "5.1"),
    ("MobileNet", 28.4, 9.4, 25.3, 7.7, "5.1"),
    ("ShuffleNet", 32.6, 12.5, 31.0, 11.1, "5.1"),
    ("SENet-154", None, None, 18.68, 4.47, "5.4"),
], columns=["name", "top1", "top5", "se_top1", "se_top5", "section"]).astype({"top1": float, "top5": float})
"""Networks as the SE paper's authors trained them again, without and with SE (Hu et al., TPAMI version): single-crop
errors in % on ImageNet's validation pictures, and the section. SENet-154 has no counterpart without SE there."""

NETWORKS = {
    "ResNeXt-50": 22.23, "SENet-50": 21.12, "SKNet-50": 20.79, "SKNet-50, three kernels": 20.76,
    "ResNeXt-101": 21.11, "SENet-101": 20.58, "SKNet-101": 20.19,
}
"""Top-1 error in % at 224×224 (Li et al., Sec. 4.1 and 4.3); the SENets are SE-ResNeXts. The three kernels are 3×3,
5×5 and 7×7."""

COMPETITORS = pd.DataFrame([
    ("ResNeXt-50", 22.23, 21.05, 25.0, 4.24), ("AttentionNeXt-56", 21.76, None, 31.9, 6.32),
    ("Inception-v3", None, 21.20, 27.1, 5.73), ("ResNeXt-50 + BAM", 21.70, 20.15, 25.4, 4.31),
    ("ResNeXt-50 + CBAM", 21.40, 20.38, 27.7, 4.25), ("SENet-50", 21.12, 19.71, 27.7, 4.25),
    ("SKNet-50", 20.79, 19.32, 27.5, 4.47), ("ResNeXt-101", 21.11, 19.86, 44.3, 7.99),
    ("Attention-92", None, 19.50, 51.3, 10.43), ("DPN-92", 20.70, 19.30, 37.7, 6.50),
    ("DPN-98", 20.20, 18.90, 61.6, 11.70), ("Inception-v4", None, 20.00, 42.0, 12.31),
    ("Inception-ResNet-v2", None, 19.90, 55.0, 13.22), ("ResNeXt-101 + BAM", 20.67, 19.15, 44.6, 8.05),
    ("ResNeXt-101 + CBAM", 20.60, 19.42, 49.2, 8.00), ("SENet-101", 20.58, 18.61, 49.2, 8.00),
    ("SKNet-101", 20.19, 18.40, 48.9, 8.46),
], columns=["name", "top1", "top1_320", "published", "published_macs"])
"""SKNets and those that they are compared with (Li et al., Table 2, also in the authors' repository): top-1 error in %
of a centre crop of 224×224 and of 320×320 (nan where the paper has none), parameters in millions and GFLOPs as
published."""

KERNELS = pd.DataFrame([
    ("kernels", "3×3 alone", 22.23), ("kernels", "5×5 alone", 25.14), ("kernels", "7×7 alone", 25.51),
    ("kernels", "3×3 + 5×5, summed", 21.76), ("kernels", "3×3 + 5×5, SK", 20.79),
    ("kernels", "3×3 + 5×5 + 7×7, SK", 20.76),
    ("second branch", "dilation 2, 32 groups (as 5×5)", 20.79),
    ("second branch", "dilation 3, 32 groups (as 7×7)", 20.97),
    ("second branch", "true 5×5, 64 groups", 20.80),
], columns=["question", "choice", "top1"])
"""SKNet-50 with other kernels, and with another dilation D and number of groups G in its second branch (Li et al.,
Sec. 4.3): top-1 error in % at 224×224. Larger kernels are 3×3 with dilation 2 and 3."""
