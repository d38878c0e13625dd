"""The papers' networks by name: those of ``resnet.py``, and backbones of torchvision, timm and this package with SE."""
from collections.abc import Callable

import timm
import torchvision
from torch import nn

from .bn_inception import BNInception
from .insert import with_attention
from .resnet import (
    se_resnet50,
    se_resnet101,
    se_resnet152,
    se_resnext50_32x4d,
    se_resnext101_32x4d,
    senet154,
    sknet26,
    sknet50,
    sknet101,
)
from .shufflenet import ShuffleNet


def se_resnet18(num_classes: int = 1000) -> nn.Module:
    """ResNet-18 of torchvision with SE, which the paper does not have; random weights. Input 224×224."""
    return with_attention(torchvision.models.resnet18(num_classes=num_classes))


def se_resnet34(num_classes: int = 1000) -> nn.Module:
    """ResNet-34 of torchvision with SE, which the paper does not have; random weights. Input 224×224."""
    return with_attention(torchvision.models.resnet34(num_classes=num_classes))


def se_vgg16_bn(num_classes: int = 1000) -> nn.Module:
    """SE-VGG-16 with BN: torchvision's, SE behind each convolution's ReLU; random weights. Input 224×224."""
    return with_attention(torchvision.models.vgg16_bn(num_classes=num_classes))


def se_bn_inception(num_classes: int = 1000) -> nn.Module:
    """SE-BN-Inception (Hu et al., Table 2), 11,931,622 parameters at 1000 classes; random weights. Input 224×224."""
    return with_attention(BNInception(num_classes))


def se_inception_v3(num_classes: int = 1000) -> nn.Module:
    """Inception-v3 of torchvision with SE on each module's output, without auxiliary head; random weights.

    Input 299×299, at least 75×75.
    """
    return with_attention(torchvision.models.inception_v3(
        num_classes=num_classes, aux_logits=False, init_weights=False))


def se_inception_resnet_v2(num_classes: int = 1000) -> nn.Module:
    """Inception-ResNet-v2 of timm with SE; random weights. Input 299×299, at least 75×75.

    SE on the branch of each residual module (before its scale), and on the output of the other three modules.
    """
    return with_attention(timm.create_model("inception_resnet_v2", num_classes=num_classes))


def se_mobilenet(num_classes: int = 1000) -> nn.Module:
    """MobileNet v1 of timm with SE on each depthwise-separable module's output; random weights. Input 224×224."""
    return with_attention(timm.create_model("mobilenetv1_100", num_classes=num_classes))


def se_shufflenet(num_classes: int = 1000) -> nn.Module:
    """ShuffleNet v1 1× with three groups and SE on each unit's branch; random weights. Input 224×224."""
    return with_attention(ShuffleNet(num_classes))


NETWORKS: dict[str, Callable[[int], nn.Module]] = {make.__name__: make for make in (
    se_resnet18, se_resnet34, se_resnet50, se_resnet101, se_resnet152, se_resnext50_32x4d, se_resnext101_32x4d,
    senet154, se_vgg16_bn, se_bn_inception, se_inception_v3, se_inception_resnet_v2, se_mobilenet, se_shufflenet,
    sknet26, sknet50, sknet101,
)}
