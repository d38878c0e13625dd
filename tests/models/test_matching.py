import pytest
import torch
from torch import nn

from senet_viz.models import CheckpointError
from senet_viz.models.checkpoints import Checkpoint
from senet_viz.models.matching import Place, check_state, find, load_state, not_finite


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Sequential(nn.Flatten(), nn.Linear(4, 2)))


@pytest.fixture
def module():
    torch.manual_seed(1)
    return network()


@pytest.fixture
def state(module):
    """Weights of another network of this kind."""
    torch.manual_seed(2)
    other = network()
    nn.init.normal_(other[1].running_mean)
    assert not torch.equal(module[0].weight, other[0].weight)
    return other.state_dict()


def same(left: dict, right: dict) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)


def under(prefix: str, state: dict) -> dict:
    return {prefix + key: value for key, value in state.items()}


def plus(state: dict, number: float) -> dict:
    return {key: value + number for key, value in state.items()}


def load(module: nn.Module, content: dict, **options) -> list[str]:
    """As ``sv.load`` does with what a file holds."""
    checkpoint = Checkpoint(content if all(isinstance(value, dict) for value in content.values()) else {"": content})
    place = find(checkpoint, module, "w")
    return load_state(module, checkpoint.states[place.entry], "w", place.prefix, **options)


# prefixes

@pytest.mark.parametrize("prefix", ["", "module.", "model.", "_orig_mod.", "net.", "backbone.", "encoder.", "0.",
                                    "1.2.", "module._orig_mod.", "model.module.net.", "student.backbone.0.", "x",
                                    "net_", "backbone.x"])
def test_any_prefix(module, state, prefix):
    assert find(Checkpoint({"": under(prefix, state)}), module) == Place("", prefix)
    assert load(module, under(prefix, state)) == []
    assert same(module.state_dict(), state)


def test_wrappers_of_pytorch(module, state):
    torch.manual_seed(2)
    other = network()
    other.load_state_dict(state)
    for wrapper in (nn.DataParallel(other), torch.compile(other), torch.optim.swa_utils.AveragedModel(other),
                    nn.DataParallel(torch.compile(other))):
        module.load_state_dict(plus(state, 1))
        load(module, wrapper.state_dict())
        assert same(module.state_dict(), state)


def test_names_of_the_network_itself_are_no_prefix(module, state):
    holder = nn.ModuleDict({"model": network()})
    own = under("model.", state)
    for content in (own, under("module.", own)):
        holder.load_state_dict(plus(own, 1))
        load(holder, content)
        assert same(holder.state_dict(), own)


def test_a_prefix_of_some_names(module, state):
    """What has no prefix, where most have one, is no part of the network, even under the name of one."""
    before = {key: value.clone() for key, value in module.state_dict().items()}
    head = {key: value for key, value in state.items() if key.startswith("2.")}
    mixed = under("encoder.", {key: value for key, value in state.items() if key not in head}) | head
    for options in ({}, {"ignore_unexpected": True}):
        with pytest.raises(CheckpointError, match=r"^w does not fit Sequential: 2 missing keys \(encoder\.2\.1\.bias, "
                                                  r"encoder\.2\.1\.weight\) and 2 unexpected keys \(2\.1\.bias, "):
            load(module, mixed, **options)
    with pytest.raises(CheckpointError, match=r"1 unexpected key \(module\.0\.weight\)\.$"):  # as many have none
        load(module, {"module.0.weight": state["0.weight"], "0.bias": state["0.bias"]})
    assert same(module.state_dict(), before)


# keys that the network has no place for

@pytest.mark.parametrize("prefix", ["", "backbone."])
def test_other_heads_are_left_out_on_request(module, state, prefix):
    others = {"aux.weight": torch.ones(3), "head\n2.bias": torch.ones(1), "backbone.extra": torch.ones(2)}
    before = {key: value.clone() for key, value in module.state_dict().items()}
    with pytest.raises(CheckpointError) as caught:
        load(module, under(prefix, state) | others)
    assert str(caught.value) == (
        r"w does not fit Sequential: 3 unexpected keys (aux.weight, backbone.extra, head\n2.bias), "
        "which ignore_unexpected=True (--ignore-unexpected) leaves out.")
    assert same(module.state_dict(), before)
    assert load(module, under(prefix, state) | others, ignore_unexpected=True) == sorted(others)
    assert same(module.state_dict(), state)


def test_what_is_missing_is_never_left_out(module, state):
    del state["0.bias"]
    with pytest.raises(CheckpointError, match=r"1 missing key \(0\.bias\)\.$"):
        load(module, state, ignore_unexpected=True)
    with pytest.raises(CheckpointError, match=r"1 missing key \(0\.bias\) and 1 unexpected key \(aux\)\.$"):
        load(module, state | {"aux": torch.ones(1)}, ignore_unexpected=True)


# entries

def test_the_entry_that_fits_best(module, state):
    small = {"0.weight": torch.ones(4, 3, 3, 3), "0.bias": torch.ones(4)}
    moments = {"exp_avg": torch.ones(3), "step": torch.ones(())}
    shapes = {key: torch.zeros(*value.shape, 2) for key, value in state.items()}  # the same names, other shapes
    content = {"ema": small, "optimizer.state.0": moments, "state_dict": shapes, "teacher": state}
    assert find(Checkpoint(content), module) == Place("teacher", "")
    content["teacher"] = under("net.", state)
    assert find(Checkpoint(content), module) == Place("teacher", "net.")
    load(module, content)
    assert same(module.state_dict(), state)


@pytest.mark.parametrize(("entries", "taken"), [
    (["state_dict", "state_dict_ema"], "state_dict_ema"), (["model", "model_ema.module"], "model_ema.module"),
    (["params", "params_ema"], "params_ema"), (["ema.shadow", "net"], "ema.shadow"), (["swa", "weights"], "swa"),
    (["model", "state_dict"], "state_dict"), (["grads", "model"], "model"), (["schema", "net"], "net")])
def test_entries_that_fit_alike(module, state, entries, taken):
    content = {entry: plus(state, i) for i, entry in enumerate(entries)}
    for order in (entries, entries[::-1]):
        load(module, {entry: content[entry] for entry in order})
        assert same(module.state_dict(), content[taken])


def test_averaged_weights_by_their_prefix(module, state):
    content = under("model.", state) | under("ema_model.module.", plus(state, 1))
    assert len(load(module, content, ignore_unexpected=True)) == len(state)
    assert same(module.state_dict(), plus(state, 1))


@pytest.mark.parametrize("content", [
    lambda state: {"student": state, "teacher": plus(state, 1)},
    lambda state: under("student.", state) | under("teacher.", plus(state, 1)),
    lambda state: {"state_dict": under("student.", state) | under("teacher.", plus(state, 1))},
    lambda state: {"ema.student": state, "ema.teacher": plus(state, 1), "state_dict": state}])
def test_nothing_says_which_are_meant(module, state, content):
    before = {key: value.clone() for key, value in module.state_dict().items()}
    for options in ({}, {"ignore_unexpected": True}):
        with pytest.raises(CheckpointError, match=r"^w holds weights of Sequential under [\w.]*student and under "
                                                  r"[\w.]*teacher, and nothing says which are meant: .*\.$"):
            load(module, content(state), **options)
    assert same(module.state_dict(), before)


def test_two_that_do_not_fit_are_told_what_is_missing(module, state):
    del state["0.bias"]
    with pytest.raises(CheckpointError, match=r"1 missing key \(0\.bias\)\.$"):
        load(module, {"student": state, "teacher": plus(state, 1)})


def test_nothing_that_fits(module):
    with pytest.raises(CheckpointError, match=r"^w does not fit Sequential: 8 missing keys .* 1 unexpected key \(x\)"):
        load(module, {"": {"x": torch.ones(1)}})


def test_names_without_end(module):
    """Long ones are cut, and take no long time."""
    with pytest.raises(CheckpointError) as caught:
        load(module, {"": {"a." * 500_000: torch.ones(1), "b\n\x1b" * 1000: torch.ones(1)}})
    assert len(str(caught.value)) < 500
    assert str(caught.value).isprintable()


# shapes and numbers

@pytest.mark.parametrize(("change", "message"), [
    (lambda s: s.pop("0.bias"), r"w does not fit Sequential: 1 missing key \(0\.bias\)\."),
    (lambda s: s.update(extra=torch.ones(1)), r"1 unexpected key \(extra\), which ignore_unexpected=True"),
    (lambda s: s.update({"0.w": s.pop("0.weight")}), r"1 missing key \(0\.weight\) and 1 unexpected key \(0\.w\)\."),
    (lambda s: s.clear(), r"8 missing keys \(0\.bias, 0\.weight, 1\.bias, …\)\."),
    (lambda s: s.update({"1.weight": torch.ones(5)}), r"1\.weight has shape \(5,\), the network's is \(4,\)\."),
    # the same number of values is not the same tensor
    (lambda s: s.update({"0.weight": torch.ones(4, 3, 9, 1)}), r"0\.weight has shape \(4, 3, 9, 1\)"),
    (lambda s: s.update({"0.weight": torch.ones(4, 3, 3, 3, dtype=torch.int8)}),
     r"^w does not fit Sequential: 0\.weight is of type torch\.int8, the network's is torch\.float32\.$"),
    (lambda s: s.update({"0.weight": torch.ones(4, 3, 3, 3, dtype=torch.uint8)}), r"0\.weight is of type torch\.uint8"),
    (lambda s: s.update({"1.bias": torch.ones(4) * 1j}), r"1\.bias is of type torch\.complex64, the network's is"),
    (lambda s: s.update({"1.num_batches_tracked": torch.tensor(1j)}), r"is of type torch\.complex64, the network's is"),
    (lambda s: s.update({"1.running_var": torch.ones(4, dtype=torch.bool)}), r"1\.running_var is of type torch\.bool"),
])
def test_what_does_not_fit_changes_nothing(module, change, message):
    state = {k: torch.zeros_like(v) for k, v in module.state_dict().items() if not k.endswith("num_batches_tracked")}
    change(state)
    before = {k: v.clone() for k, v in module.state_dict().items()}
    with pytest.raises(CheckpointError, match=message):
        load_state(module, state, "w")
    assert same(module.state_dict(), before)
    with torch.device("meta"):
        unbuilt = network()
    with pytest.raises(CheckpointError, match=message):  # before anything is built
        check_state(unbuilt, state, "w")


def test_counters_may_be_left_out(module, state):
    load_state(module, {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")})
    assert same(module.state_dict(), state)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn])
def test_floats_are_loaded_into_the_networks_own(module, state, dtype):
    load_state(module, {key: value.to(dtype) for key, value in state.items()})
    assert module[0].weight.dtype == torch.float32
    assert torch.equal(module[0].weight, state["0.weight"].to(dtype).float())


def test_numbers_that_are_not_finite(module, state):
    assert not_finite(module) == []
    state["0.weight"][1, 0, 2, 2] = float("nan")
    state["1.running_var"][3] = float("inf")
    state["2.1.bias"][0] = 1e30
    load_state(module, state)
    assert not_finite(module) == ["0.weight", "1.running_var"]
    load_state(module, {key: value.double() * 1e10 if key == "2.1.bias" else value for key, value in state.items()})
    assert not_finite(module) == ["0.weight", "1.running_var", "2.1.bias"]  # more than float32 can hold
