"""What numba lacks: single instructions and vector loops, written in LLVM's terms."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

INDEX, ADDRESS = ir.IntType(16), ir.IntType(64)


@intrinsic
def lowest_bit(typing_context: Any, word: Any) -> Any:
    """Position of the lowest set bit of a word that has one."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return word(word), generate


def row_adder(vectors: int, lanes: int, weight_bits: int, sum_bits: int) -> Any:
    """A function (weight, rows, n, sums) that adds rows of a weight matrix, given by `n` 16-bit indices, to `sums`.

    All but `n` are addresses. A row has vectors x lanes weights, which stay in registers as sums: numba's own loops would
    store and load them for every row.
    """
    width = vectors * lanes
    weight_type, sum_type = ir.IntType(weight_bits), ir.IntType(sum_bits)
    weight_vector, sum_vector = ir.VectorType(weight_type, lanes), ir.VectorType(sum_type, lanes)

    def part(builder: Any, pointer: Any, index: int, vector: Any) -> Any:
        return builder.bitcast(builder.gep(pointer, [ir.Constant(ADDRESS, index * lanes)]), vector.as_pointer())

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        weight, rows, n, sums = arguments
        weights = builder.inttoptr(weight, weight_type.as_pointer())
        indices = builder.inttoptr(rows, INDEX.as_pointer())
        totals = builder.inttoptr(sums, sum_type.as_pointer())
        registers = []
        for i in range(vectors):
            register = cgutils.alloca_once(builder, sum_vector)
            builder.store(builder.load(part(builder, totals, i, sum_vector), align=sum_bits // 8), register)
            registers.append(register)
        with cgutils.for_range(builder, n, intp=ADDRESS) as loop:
            index = builder.zext(builder.load(builder.gep(indices, [loop.index])), ADDRESS)
            row = builder.gep(weights, [builder.mul(index, ir.Constant(ADDRESS, width))])
            for i, register in enumerate(registers):
                addends = builder.load(part(builder, row, i, weight_vector), align=weight_bits // 8)
                if weight_bits < sum_bits:
                    addends = builder.sext(addends, sum_vector)
                builder.store(builder.add(builder.load(register), addends), register)
        for i, register in enumerate(registers):
            builder.store(builder.load(register), part(builder, totals, i, sum_vector), align=sum_bits // 8)
        return context.get_dummy_value()

    @intrinsic
    def add_rows(typing_context: Any, weight: Any, rows: Any, n: Any, sums: Any) -> Any:
        return types.void(types.intp, types.intp, types.intp, types.intp), generate

    return add_rows
