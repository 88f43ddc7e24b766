"""Files of spiking stacks."""

import copy

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from separator.errors import UserError
from separator.snn.layers.analog import AnalogLayer, layers_of
from separator.snn.layers.dynamics import Dynamics
from separator.snn.stack.graph import INPUT
from separator.snn.stack.saved import load_stack, save_stack
from separator.snn.stack.stack import Stack
from tests.disks import files_of_at_most

DYNAMICS = [
    Dynamics(8, 0.5),
    Dynamics(4, 0.5, "layer-by-layer", 8, neuron="few-spikes"),
    Dynamics(6, neuron="augmented", neuron_options={"boundary": 3}),
    Dynamics(40, coding="poisson", coding_options={"seed": 3}),
]


def pictures_stack():
    """Batch norm, pooling, a shortcut of its own, and a flattened layer; other weights each time."""
    layers = [
        AnalogLayer(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4)),
        AnalogLayer(nn.Conv2d(4, 6, 3), before=[nn.AvgPool2d(2)]),
        AnalogLayer(nn.Conv2d(6, 6, 1), shortcut=AnalogLayer(nn.Conv2d(6, 6, 1), nn.BatchNorm2d(6), activation=None)),
        AnalogLayer(nn.Linear(6 * 4, 3), before=[nn.Flatten()], activation=None),
    ]
    for layer in layers:
        layer.affine.bias.data.fill_(0.1)
    return Stack(layers, "potential", [((INPUT,),), ((0,),), ((1,), (1,)), ((2,),)]).eval()


def converted(dynamics):
    torch.manual_seed(0)
    stack, x = pictures_stack(), torch.rand(6, 2, 8, 8)
    stack.convert(x, dynamics, channelwise=True)
    return stack, x


@pytest.mark.parametrize("dynamics", DYNAMICS, ids=lambda dynamics: dynamics.neuron)
def test_a_saved_stack_gives_the_same_to_the_bit(dynamics, tmp_path):
    stack, x = converted(dynamics)
    save_stack(stack, tmp_path / "stack.safetensors")
    other = pictures_stack().train()
    load_stack(other, tmp_path / "stack.safetensors", x)
    assert other.training and other.readout == "potential" and other.dynamics == dynamics
    assert torch.equal(other.eval()(x), stack(x))
    assert [path.name for path in tmp_path.iterdir()] == ["stack.safetensors"]
    assert all(torch.equal(a, b) for a, b in zip(other.state_dict().values(), stack.state_dict().values(), strict=True))


def changed(path, metadata=None, **tensors):
    """Write a file with other tensors (None to leave one out), or other metadata."""
    with safe_open(path, "pt") as file:
        found = {**file.metadata(), **(metadata or {})}
    kept = {name: tensor for name, tensor in {**load_file(path), **tensors}.items() if tensor is not None}
    save_file(kept, path, found)


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        (lambda path: path.unlink(), "cannot read .*: No such file"),
        (lambda path: path.write_bytes(path.read_bytes()[:-9]), "no saved stack that this version can read"),
        (lambda path: path.write_bytes(b"RIFF"), "no saved stack that this version can read"),
        (lambda path: changed(path, {"format": "pt"}), "holds no saved stack"),
        (lambda path: changed(path, {"dynamics": '{"width": 3}'}), "no saved stack that this version can read"),
        (lambda path: changed(path, {"dynamics": '{"window": 0}'}), "the time window is 1"),
        (lambda path: changed(path, {"readout": "count"}), "of other layers: .* 'count'"),
        (lambda path: changed(path, **{"layers.2.weight": None}), "lacks 'layers.2.weight'"),
        (lambda path: changed(path, **{"layers.7.weight": torch.ones(2)}), "it has 'layers.7.weight' too"),
        (lambda path: changed(path, **{"layers.2.weight": torch.ones(6, 5, 1, 1)}), "layer 2: weight has the shape"),
        (lambda path: changed(path, **{"layers.1.threshold": torch.zeros(6, dtype=torch.int32)}), "layer 1: a threshold"),
    ],
)
def test_other_files_are_refused_and_change_nothing(how, reason, tmp_path):
    stack, x = converted(DYNAMICS[0])
    path = tmp_path / "stack.safetensors"
    save_stack(stack, path)
    how(path)
    other = pictures_stack()
    before, expected = copy.deepcopy(other.state_dict()), other(x)
    with pytest.raises(UserError, match=reason):
        load_stack(other, path, x)
    assert other.readout == "potential" and other.converted == 0
    assert torch.equal(other(x), expected) and other.state_dict().keys() == before.keys()


def test_a_full_disk_keeps_the_file_that_was_there(tmp_path):
    stack, _ = converted(DYNAMICS[0])
    path = tmp_path / "stack.safetensors"
    save_stack(stack, path)
    before = path.read_bytes()
    with files_of_at_most(1000), pytest.raises(UserError, match=r"cannot write .*stack\.safetensors: File too large"):
        save_stack(stack, path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_what_is_saved_and_loaded():
    modules = [nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)]
    stack = Stack(layers_of(modules))
    with pytest.raises(UserError, match="2 layers of the stack are not spiking"):
        save_stack(stack, "nowhere")
    stack.convert(torch.rand(8, 3), Dynamics(4, 0.5))
    with pytest.raises(UserError, match="one whose layers are all analog"):
        load_stack(stack, "nowhere", torch.rand(1, 3))
