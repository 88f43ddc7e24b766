"""Energy of a network's operations at stated costs per operation."""

from dataclasses import dataclass


@dataclass(frozen=True)
class OperationCost:
    """Energy of arithmetic in a 45 nm process (Horowitz, ISSCC 2014), in picojoules; memory access is not counted."""

    name: str
    multiply: float
    add: float

    @property
    def multiply_accumulate(self) -> float:
        """Energy of a multiplication and an addition, in picojoules."""
        return self.multiply + self.add


FLOAT32 = OperationCost("fp32", multiply=3.7, add=0.9)
INT32 = OperationCost("int32", multiply=3.1, add=0.1)
INT8 = OperationCost("int8", multiply=0.2, add=0.03)
COSTS = (FLOAT32, INT32, INT8)


def dense_energy(multiply_accumulates: float, cost: OperationCost) -> float:
    """Energy in picojoules of a layer that multiplies every input by every weight."""
    return multiply_accumulates * cost.multiply_accumulate


def spiking_energy(synaptic_operations: float, cost: OperationCost) -> float:
    """Energy in picojoules of a layer that adds one weight to one membrane potential for each spike that arrives there."""
    return synaptic_operations * cost.add
