"""Weighted sums of a layer: its incoming maps as exact products, laid out the way that is fastest."""

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from separator.snn.execution.chosen import chosen_execution
from separator.snn.integers.products import Product, Work, as_it_is, joint_sums, matrix_product, product_of
from separator.snn.integers.quanta import adding_type, every_bit
from separator.snn.synapses.absorb import Pooled, pooled_apart
from separator.snn.synapses.incoming import IncomingMap

INT8 = 127  # largest input of products of 8-bit integers


class WeightedSums:
    """Exact sums, in quanta, of weights times spikes, times sums of spikes, or times whole quanta of an analog input.

    Args:
        maps: incoming maps, with weights in quanta; their outputs are added up.
        long: whether sums go beyond what 32-bit numbers hold, so that they are computed in float64.
        spikes_of_any_size: whether inputs are spikes larger than 1, so that how sums add exactly depends on them.
        encodes: whether inputs are whole quanta of an analog input, and weights floating-point numbers of 64 bits.
    """

    def __init__(
        self, maps: Sequence[IncomingMap], long: bool = False, spikes_of_any_size: bool = False, encodes: bool = False
    ) -> None:
        self.maps, self.long, self.encodes, self.spikes_of_any_size = tuple(maps), long, encodes, spikes_of_any_size
        self._pooled: dict[torch.Size, Pooled | None] = {}

    def padded_as(self, maps: Sequence[IncomingMap]) -> "WeightedSums":
        """The same weights under maps that pad otherwise."""
        padded = WeightedSums(maps, self.long, self.spikes_of_any_size, self.encodes)
        products = self._products
        if products is not None:
            products = [product.padded_as(own.apply) for product, own in zip(products, maps, strict=True)]
        padded.__dict__["_products"], padded.__dict__["_dense_weight"] = products, self._dense_weight
        return padded

    def __call__(self, x: Tensor, prepare: Work = as_it_is, finish: Work = as_it_is, beside: Tensor | None = None) -> Tensor:
        """The sums. Shape: (B, ...) -> (B, ...).

        Args:
            x: the input.
            prepare: what is made of inputs on the way, as `joint_sums` says.
            finish: what is made of sums on the way, likewise.
            beside: input of the maps after the first; the same if None.
        """
        products, kind = self._products, torch.float32
        if self.spikes_of_any_size:
            largest = max(float(seen.abs().max()) for seen in (x, *([] if beside is None else [beside])))
            products = products if largest <= INT8 else None
            kind = adding_type(largest * self._most_weight)
        if products is not None and (self.encodes or chosen_execution() != "dense"):
            taken = torch.float64 if self.encodes or self.long else torch.int8
            return joint_sums(products, [x] if beside is None else [x, beside], lambda seen: prepare(seen).to(taken), finish)
        return self._dense(x, prepare, finish, beside, kind)

    def _dense(self, x: Tensor, prepare: Work, finish: Work, beside: Tensor | None, kind: torch.dtype) -> Tensor:
        apart = None if self.encodes else self._pooled_apart(x.shape[1:])
        apply, dense = (self.maps[0].apply, self._dense_weight) if apart is None else (apart.apply, apart.weight)
        weight = dense if kind == torch.float32 else dense.to(kind)
        inputs = prepare(x).to(weight.dtype)
        other_inputs = inputs if beside is None else beside.to(weight.dtype)
        with every_bit(x.device):
            sums = apply(inputs if apart is None else apart.sums(inputs), weight, None)
            for other in self.maps[1:]:
                sums = sums + other.apply(other_inputs, other.weight.to(inputs.dtype), None)
            return finish(sums)

    @cached_property
    def _most_weight(self) -> float:
        """Most that spikes of 1, one of every neuron, add to a potential."""
        return sum(float(own.weight.flatten(1).abs().sum(1, dtype=torch.float64).max()) for own in self.maps)

    @cached_property
    def _dense_weight(self) -> Tensor:
        """Weight of the first map, in a type of floating point that adds it exactly."""
        return self.maps[0].weight.double() if self.long or self.encodes else self.maps[0].weight.float()

    def _pooled_apart(self, shape: torch.Size) -> Pooled | None:
        """The first map, for inputs of a shape, with sums of what it averages apart, if it does."""
        if shape not in self._pooled:
            self._pooled[shape] = pooled_apart(self.maps[0].apply, self._dense_weight, shape)
        return self._pooled[shape]

    @cached_property
    def _products(self) -> list[Product] | None:
        """The maps as products where that is the faster way: of 8 bits, and of 64 bits, which oneDNN does not serve."""
        maps = list(self.maps)
        if self.encodes:
            product = matrix_product(maps[0].apply, self._dense_weight)
            return None if product is None else [product]
        if self.long:
            maps = [own if own.is_identity else IncomingMap(own.apply, own.weight.double()) for own in maps]
        elif maps[0].weight.dtype != torch.int8:
            return None
        served = [product_of(*own) for own in maps]
        return [product for product in served if product is not None] if None not in served else None
