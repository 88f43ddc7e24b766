"""Linear layers of neurons with two thresholds: a row of weights is added for every spike, while spikes are few.

Where they are not, all steps are one matrix product. Both add whole numbers exactly.
"""

from functools import cached_property, partial

import torch
from torch import Tensor, nn

from separator.snn.execution.scans import SCANS, has_kernels, run_neurons
from separator.snn.integers.quanta import adding_type
from separator.snn.neurons.neuron import Neuron, Numbers, State
from separator.snn.spikes.signed import SignedSpikes
from separator.snn.spikes.trains import Spikes
from separator.snn.synapses.affine import AffineMap

# Share of neurons that fire at a step, up to which adding rows is the faster way. With 1200 inputs and outputs, 1600 rows on
# one core with AVX2 took 9 ms at a share of 0.01, 35 at 0.06 and 61 at 0.1, the product 60 to 66; with 4096 inputs and 2048
# outputs they took 70, 329 and 492 ms, the product 360 to 400.
FEW = 0.07
LARGE = 2.0**30  # sums up to which 32-bit integers have room for a potential beside them


class RowAdding:
    """A linear population laid out for the addition of rows."""

    carries = True

    def __init__(self, apply: AffineMap, weight: Tensor, bias: Tensor, neuron: Neuron, numbers: Numbers) -> None:
        self.apply, self.weight, self.bias, self.neuron, self.numbers = apply, weight, bias, neuron, numbers
        self.most = float(weight.abs().sum(1, dtype=torch.float64).max())

    def padded_as(self, apply: AffineMap) -> "RowAdding":
        """The same; linear layers are not padded."""
        return self

    def __call__(self, spikes: Spikes, state: State = None, carry: bool = False) -> tuple[Spikes, State]:
        """Spikes fired on the incoming ones, and the state after them."""
        trains = trains_of(spikes).flatten(2).flatten(0, 1)
        items = len(trains) // spikes.window
        few = int(torch.count_nonzero(trains)) <= FEW * trains.numel()
        currents = self._added(trains) if few else self._multiplied(trains)
        return run_neurons(self.neuron, currents.view(spikes.window, items, -1), self.numbers, state)

    def _added(self, trains: Tensor) -> Tensor:
        from separator.snn.execution.kernels.scan import add_rows
        from separator.snn.execution.kernels.threads import in_threads

        currents = torch.empty(len(trains), len(self.weight), dtype=torch.int32)
        given = (x.numpy() for x in (trains.contiguous(), self._rows, self.bias.to(torch.int32), currents))
        in_threads(partial(add_rows, *given), len(trains), torch.get_num_threads())
        return currents

    def _multiplied(self, trains: Tensor) -> Tensor:
        low, high = trains.aminmax()
        kind = adding_type(self.most * max(-int(low), int(high)) + float(self.bias.abs().max()))
        return torch.addmm(self.bias.to(kind), trains.to(kind), self.weight.to(kind).t())

    @cached_property
    def _rows(self) -> Tensor:
        return self.weight.to(torch.int32).t().contiguous()


def trains_of(spikes: Spikes) -> Tensor:
    """Spikes of each step as bytes. Shape: (N_s, B, ...), int8."""
    if not isinstance(spikes, SignedSpikes):
        return spikes.trains().to(torch.int8)
    from separator.snn.execution.kernels.scan import unpack_signed
    from separator.snn.execution.kernels.threads import in_threads

    up, down = (part.words.flatten(1).contiguous() for part in (spikes.up, spikes.down))
    trains = torch.empty(spikes.window, *up.shape, dtype=torch.int8)
    in_threads(partial(unpack_signed, up.numpy(), down.numpy(), trains.numpy()), len(up), torch.get_num_threads())
    return trains.view(spikes.window, *spikes.shape)


def row_adding(apply: AffineMap, weight: Tensor, bias: Tensor, neuron: Neuron, numbers: Numbers) -> RowAdding | None:
    """The execution of a linear layer; None of others, of other neurons, of sums beyond 32 bits, or on other machines."""
    linear = apply.kind is nn.Linear and weight.device.type == "cpu" and type(neuron) in SCANS
    if not linear or not has_kernels():
        return None
    made = RowAdding(apply, weight, bias, neuron, numbers)
    return made if made.most * neuron.largest + float(bias.abs().max()) < LARGE else None
