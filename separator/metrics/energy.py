"""Energy of a network's operations at stated costs per operation."""

from dataclasses import dataclass


@dataclass(frozen=True)
class OperationCost:
    """Energy of arithmetic, in picojoules, or in additions where only the ratio is known; memory access is not counted."""

    name: str
    multiply: float
    add: float

    @property
    def multiply_accumulate(self) -> float:
        """Energy of a multiplication and an addition."""
        return self.multiply + self.add


# In a 45 nm process (Horowitz, ISSCC 2014), in picojoules.
FLOAT32 = OperationCost("fp32", multiply=3.7, add=0.9)
INT32 = OperationCost("int32", multiply=3.1, add=0.1)
INT8 = OperationCost("int8", multiply=0.2, add=0.03)
COSTS = (FLOAT32, INT32, INT8)

WEIGHED = (  # for reports
    "A spike with a coefficient counts as one addition, though its weight is multiplied by a small whole number first, or "
    "shifted where its time step says how much it is worth."
)
MAC_COST = 14.0  # additions that a multiply-accumulate costs as much as, in a 28 nm process (Wu et al. 2021, section 5.5)


def relative_cost(multiply_accumulate: float = MAC_COST) -> OperationCost:
    """Costs in additions, from that of a multiply-accumulate, which is at least 1."""
    return OperationCost(f"a MAC costs {multiply_accumulate:g} additions", multiply_accumulate - 1, 1.0)


def dense_energy(multiply_accumulates: float, cost: OperationCost) -> float:
    """Energy of a layer that multiplies every input by every weight."""
    return multiply_accumulates * cost.multiply_accumulate


def spiking_energy(synaptic_operations: float, cost: OperationCost) -> float:
    """Energy of a layer that adds one weight to one membrane potential for each spike that arrives there."""
    return synaptic_operations * cost.add


def energy_ratio(synaptic_operations: float, remaining_macs: float, analog_macs: float, cost: OperationCost) -> float:
    """Energy of a spiking network over that of the analog one it came from.

    Args:
        synaptic_operations: of the spiking network.
        remaining_macs: multiply-accumulates that it does as well, on input that is no spikes.
        analog_macs: of the analog network.
        cost: of both.
    """
    spiking = spiking_energy(synaptic_operations, cost) + dense_energy(remaining_macs, cost)
    return spiking / dense_energy(analog_macs, cost)
