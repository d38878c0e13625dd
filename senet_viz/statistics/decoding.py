"""Which class is a picture of? Told from vectors alone, to see how much of the class they hold.

A share of variance looks at one channel at a time. A classifier looks at all of them: where it does better with the
squeezed input z than with the gate that is made of z, the gate holds less of the class, whatever its channels say.
"""
import torch

FOLDS = 5  # each picture's class is told by a classifier that has not seen the picture
ROUNDING = 1e-12  # a share of a channel's mean, or of variance, up to which what varies is rounding
LEAST = 1e-9  # a covariance is shrunk by so much at least: of vectors along one line the formula gives 0
NAN = float("nan")


def decoded(values: torch.Tensor, labels: torch.Tensor, folds: int = FOLDS) -> float:
    """The share of pictures whose class linear discriminant analysis tells, cross-validated, 0..1.

    The covariance within classes is shrunk as O. Ledoit and M. Wolf derive it (A well-conditioned estimator for
    large-dimensional covariance matrices, Journal of Multivariate Analysis 88, 2004), of channels scaled to a standard
    deviation of 1; classes count alike. By chance the share is 1 / the number of classes where they are equally large,
    and up to that of the largest elsewhere, whose centre is the surest.

    Args:
        values: (n, C), finite.
        labels: (n,) int64; pictures under 0, and those of a class of fewer pictures than folds, are left out.
        folds: each class's pictures are dealt out to them in turn.

    Returns:
        nan of fewer than two classes.
    """
    values, labels = values.detach().cpu().double(), labels.cpu()
    kept, fold = _asked(labels, folds)
    classes, labels = labels[kept].unique(return_inverse=True)
    if len(classes) < 2:
        return NAN
    values, fold = values[kept], fold[kept]
    values = values - values.mean(0)  # near 0, where differences of products are exact
    parts = [values[fold == turn] for turn in range(folds)]
    # the products of the pictures of four folds are those of all five less the fifth's: each is made once
    products = [part.T @ part for part in parts] if values.shape[1] <= len(values) - len(parts[0]) else []
    hits = 0
    for turn, unseen in enumerate(parts):
        seen = fold != turn
        weights, bias = discriminants(values[seen], labels[seen], len(classes),
                                      torch.stack(products[:turn] + products[turn + 1:]).sum(0) if products else None)
        hits += int(((unseen @ weights + bias).argmax(1) == labels[~seen]).sum())
    return hits / len(values)


def asked(labels: torch.Tensor, folds: int = FOLDS) -> tuple[int, int]:
    """Of how many pictures ``decoded`` asks for the class, and how many classes these have."""
    labels = labels.cpu()
    kept = labels[_asked(labels, folds)[0]]
    return len(kept), len(kept.unique())


def _asked(labels: torch.Tensor, folds: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Which pictures' classes are asked for, and in which fold they are."""
    _, member, count = labels.unique(return_inverse=True, return_counts=True)
    order = member.argsort(stable=True)  # class after class
    fold = torch.empty_like(labels)
    fold[order] = (torch.arange(len(labels)) - (count.cumsum(0) - count)[member[order]]) % folds
    return (labels >= 0) & (count[member] >= folds), fold


def discriminants(values: torch.Tensor, labels: torch.Tensor, classes: int, products: torch.Tensor | None = None
                  ) -> tuple[torch.Tensor, torch.Tensor]:
    """Linear discriminants of classes that count alike, weights (C, K) and biases (K,): the highest score wins.

    Args:
        values: (n, C) float64.
        labels: (n,), each in 0..K − 1; every class has pictures.
        classes: K.
        products: XᵀX of the values (C, C), where it is known already; they lie around 0 then.
    """
    mean = values.mean(0)
    scaled = values - mean
    std = scaled.square().mean(0).sqrt()  # torch.std takes four times as long
    scale = torch.where(std > ROUNDING * mean.abs(), 1 / std, 0.0)  # what does not vary tells nothing
    scaled *= scale
    count = labels.bincount(minlength=classes)[:, None]
    centres = scaled.new_zeros(classes, scaled.shape[1]).index_add_(0, labels, scaled) / count
    within = centres[labels].sub_(scaled)  # in whichever direction
    if products is not None:  # Σ (x − µ_k)(x − µ_k)ᵀ = Σ xxᵀ − n mmᵀ − Σ n_k (µ_k − m)(µ_k − m)ᵀ
        products = (products - len(values) * mean[:, None] * mean) * scale * scale[:, None]
        products = products - centres.T @ (count * centres)
    solved = _shrunk_inverse(within, centres.T, products)
    bias = -0.5 * (centres.T * solved).sum(0)
    weights = scale[:, None] * solved
    return weights, bias - mean @ weights


def _shrunk_inverse(rows: torch.Tensor, right: torch.Tensor, products: torch.Tensor | None = None) -> torch.Tensor:
    """Σ⁻¹ · right, Σ the shrunk covariance of centred rows (n, C) of channels that have a variance of up to 1.

    ``right`` is (C, K); ``products`` are rowsᵀ · rows.
    """
    count, channels = rows.shape
    wide = channels > count
    if products is None or wide:
        products = rows @ rows.T if wide else rows.T @ rows  # both have the trace and the norm of the other
    level = products.trace() / count / channels  # the mean eigenvalue
    if not level > ROUNDING:  # the pictures of a class are alike, copies say: the nearest centre tells the class
        return right
    norm = (products / count).square().sum()
    distance = norm - channels * level ** 2
    noise = (rows.square().sum(1).square().sum() - count * norm) / count ** 2
    share = float((noise / distance).clamp(LEAST, 1)) if distance > 0 else 1.0
    ridge, rest = share * level, (1 - share) / count
    if not wide:
        covariance = rest * products
        covariance.diagonal().add_(ridge)
        return torch.linalg.solve(covariance, right)
    if rest == 0:
        return right / ridge
    products.diagonal().add_(ridge / rest)  # Woodbury: only an n × n matrix is solved
    return (right - rows.T @ torch.linalg.solve(products, rows @ right)) / ridge
