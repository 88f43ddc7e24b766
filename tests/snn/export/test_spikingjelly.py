import pytest
import torch
from spikingjelly.activation_based import neuron

from separator.errors import UserError
from separator.snn.export.spikingjelly import SpikingJellyStack
from separator.snn.stack.stack import Stack, outcomes
from tests.snn.nets import STACKS, converted, linear_stack


@pytest.mark.parametrize("kind", sorted(STACKS))
@pytest.mark.parametrize("window", [4, 32])
@pytest.mark.parametrize("bits", [None, 8])
@pytest.mark.parametrize("initial_potential", [0.0, 0.5])
@pytest.mark.parametrize("channelwise", [False, True])
def test_spikes_are_the_same(kind, window, bits, initial_potential, channelwise):
    build, shape = STACKS[kind]
    x = torch.randn(3, *shape)
    stack = converted(build(0), x, window, initial_potential, channelwise=channelwise, weight_bits=bits)
    theirs = SpikingJellyStack(stack)
    fired, ours = [], []
    for node in theirs.nodes:
        assert isinstance(node, neuron.ActivationAwareIFNode if channelwise else neuron.IFNode)
        node.register_forward_hook(lambda module, inputs, output: fired.append(output))
    stack.observer = lambda run: ours.append(run.outcome)
    for _ in range(2):  # neurons start anew
        assert torch.equal(theirs(x), stack(x))
    *spikes, _ = ours[: len(stack.layers)]
    assert all(torch.equal(a, b.trains()) for a, b in zip(fired[: len(spikes)], spikes, strict=True))
    assert sum(float(train.sum()) for train in fired) > 0
    *words, potential = theirs.outcomes(x)
    assert all(torch.equal(a, b.words) for a, b in zip(words, spikes, strict=True))
    assert torch.equal(stack.read(potential), stack(x))
    assert all(torch.equal(a, b) for a, b in zip((*words, potential), outcomes(stack, x), strict=True))


def test_other_stacks_are_refused():
    x = torch.randn(3, 6)
    with pytest.raises(UserError, match="runs of more than 32 time steps"):
        SpikingJellyStack(converted(linear_stack(), x, 40, 0.5))
    counted = Stack(list(linear_stack().layers), "counts").eval()
    with pytest.raises(UserError, match="readouts of counts"):
        SpikingJellyStack(converted(counted, x, 4, 0.5))
    with pytest.raises(UserError, match="pipelined"):
        SpikingJellyStack(converted(linear_stack(), x, 4, 0.5, schedule="layer-by-layer"))
    with pytest.raises(UserError, match="not wholly spiking"):
        SpikingJellyStack(linear_stack())
