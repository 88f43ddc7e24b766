import pytest
import torch
from hypothesis import given, reject
from hypothesis import strategies as st
from torch import nn

from separator.snn.execution import event_driven
from separator.snn.execution.chosen import execution
from separator.snn.layers.analog import AnalogLayer
from separator.snn.layers.dynamics import Dynamics
from separator.snn.observe.activity import record_activity
from separator.snn.stack.stack import Stack
from separator.snn.stack.streaming import StackStream
from separator.snn.synapses.affine import CausalConv2d
from tests.snn.nets import linear_stack, randomised


def shortcut_of(kind, channels):
    if kind == "weighted":
        return AnalogLayer(nn.Conv2d(channels, channels, 1, bias=False), nn.BatchNorm2d(channels), activation=None)
    return nn.Identity() if kind == "identity" else None


def stack_of(seed, causal, channels=5, kernels=(1, 3, 3, 5), dilations=(1, 1, 4, 2), shortcuts=("", "", "", "")):
    """One-row images, as separation networks have them, first without padding in between.

    `causal` may be of each layer.
    """
    torch.manual_seed(seed)
    layers, width = [], 3
    causals = [causal] * len(kernels) if isinstance(causal, bool) else causal
    for k, d, looks_back, shortcut in zip(kernels, dilations, causals, shortcuts, strict=True):
        make = CausalConv2d if looks_back else nn.Conv2d
        convolution = make(width, channels, (1, k), padding=(0, d * (k // 2)), dilation=(1, d), bias=False)
        layers.append(randomised(AnalogLayer(convolution, nn.BatchNorm2d(channels), shortcut=shortcut_of(shortcut, channels))))
        width = channels
    return Stack(layers).eval().to(memory_format=torch.channels_last)


def pieces(x, sizes):
    """The input cut into pieces of these sizes, some of them empty, and a last one."""
    sizes = list(sizes)
    while sum(sizes) > x.shape[-1]:
        sizes.pop()
    return torch.split(x, [*sizes, x.shape[-1] - sum(sizes)], -1)


def streamed(stack, x, sizes, live=False):
    stream, parts = StackStream(stack, live), pieces(x, sizes)
    given, late, taken = [], 0, 0
    for part in parts[:-1]:
        given.append(stream.push(part))
        taken += part.shape[-1]
        late = max(late, taken - sum(piece.shape[-1] for piece in given if piece is not None))
    given.append(stream.push(parts[-1], last=True))
    assert late <= stream.look_ahead
    return torch.cat([piece for piece in given if piece is not None], -1)


REACHING = AnalogLayer(nn.Conv1d(3, 3, 3, padding=1), activation=None)
SKIPPING = (False, False, True, False), ("", "identity", "identity", "weighted")  # which look back, what is beside them
sizes_of_pieces = st.lists(st.integers(0, 15), max_size=8)


@given(
    st.integers(0, 10**6),
    st.booleans(),
    st.sampled_from(["pipelined", "layer-by-layer"]),
    st.sampled_from([1, 4, 32]),
    st.sampled_from([None, 8]),
    st.integers(1, 60),
    sizes_of_pieces,
    st.booleans(),
    st.booleans(),
)
def test_spikes_do_not_depend_on_the_pieces(seed, causal, schedule, window, bits, length, sizes, skipping, live):
    stack = stack_of(seed, SKIPPING[0], shortcuts=SKIPPING[1]) if skipping else stack_of(seed, causal)
    x = torch.randn(2, 3, 1, length)
    try:
        stack.convert(torch.randn(2, 3, 1, 60), Dynamics(window, 0.5, schedule, bits), channelwise=True)
    except ValueError:  # a layer that is never active has no thresholds
        reject()
    assert torch.equal(streamed(stack, x, sizes, live), stack(x))


def test_live_layers_run_by_the_event_driven_kernel(monkeypatch):
    """What the kernel fires for layers that wait for all of their input is what products and divisions come to."""
    stack, x, fired = stack_of(0, causal=True), torch.randn(2, 3, 1, 60), []
    stack.convert(x, Dynamics(4, 0.5, "layer-by-layer", 8), channelwise=True)
    expected, kernel = stack(x), event_driven.EventDriven.__call__

    def called(self, *arguments):
        outcome = kernel(self, *arguments)
        fired.append(outcome[0])
        return outcome

    monkeypatch.setattr(event_driven.EventDriven, "__call__", called)
    assert torch.equal(streamed(stack, x, [20, 20]), expected) and not fired
    assert torch.equal(streamed(stack, x, [20, 20], live=True), expected)
    # Three pieces, each of two layers that fire and one that never does.
    most = [float(spikes.counts.max()) for spikes in fired]
    assert len(fired) == 3 * 3 and 0 < max(most) <= 4 and max(most[2::3]) == 0
    with execution("dense"):
        assert torch.equal(streamed(stack, x, [20, 20], live=True), expected) and len(fired) == 9


@given(st.integers(0, 10**6), st.booleans(), st.integers(1, 60), sizes_of_pieces, st.booleans())
def test_analog_stacks_differ_by_rounding_alone(seed, causal, length, sizes, skipping):
    stack = stack_of(seed, SKIPPING[0], shortcuts=SKIPPING[1]) if skipping else stack_of(seed, causal)
    x = torch.randn(2, 3, 1, length)
    torch.testing.assert_close(streamed(stack, x, sizes), stack(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("causal", [False, True])
def test_look_ahead_is_what_layers_pad_behind(causal):
    assert StackStream(stack_of(0, causal)).look_ahead == (0 if causal else 1 + 4 + 4)


@pytest.mark.parametrize("causal", [False, True, "skipping"])
def test_activity_of_pieces_adds_up(causal):
    stack = stack_of(1, SKIPPING[0], shortcuts=SKIPPING[1]) if causal == "skipping" else stack_of(1, causal)
    x = torch.randn(2, 3, 1, 50)
    stack.convert(x, Dynamics(6, 0.5, "layer-by-layer", 8))
    network = nn.Sequential(stack)
    with record_activity(network) as whole:
        network(x)
    for sizes in ([7, 1, 20], [1] * 40, []):
        with record_activity(network) as parts:
            streamed(stack, x, sizes)
        assert parts == whole
    assert whole.synaptic_operations > 0


def test_nothing_is_kept_of_what_no_output_will_see():
    stack = stack_of(0, causal=True)
    stack.convert(torch.randn(1, 3, 1, 60), Dynamics(4, 0.5, "layer-by-layer", 8))
    stream = StackStream(stack)
    for _ in range(3):
        stream.push(torch.randn(1, 3, 1, 1000))
    assert stream.layers[0].held is None  # its outputs see their own position alone
    held = [layer.held.memory.parts[0] for layer in stream.layers[1:]]
    assert [numbers.untyped_storage().nbytes() // numbers.itemsize // 5 for numbers in held] == [2, 8, 8]


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: linear_stack(), "no dimension of time"),
        (
            lambda: Stack([AnalogLayer(nn.Conv1d(3, 3, 3, stride=2, padding=1)), AnalogLayer(nn.Conv1d(3, 3, 1))]),
            "as many outputs",
        ),
        (
            lambda: Stack([AnalogLayer(nn.Conv1d(3, 3, 1)), AnalogLayer(nn.Conv1d(3, 3, 3, padding=1), shortcut=REACHING)]),
            "each output's own position",
        ),
        (lambda: Stack([AnalogLayer(nn.Conv1d(3, 3, 3)), AnalogLayer(nn.Conv1d(3, 3, 1))]), "as many outputs"),
    ],
)
def test_what_cannot_be_streamed_is_refused(make, reason):
    with pytest.raises(ValueError, match=reason):
        StackStream(make())


def test_stacks_in_tandem_are_refused():
    stack = stack_of(0, causal=True)
    stack.convert(torch.randn(1, 3, 1, 60), Dynamics(4))
    stack.unfreeze()
    with pytest.raises(ValueError, match="TandemLayer"):
        StackStream(stack)
