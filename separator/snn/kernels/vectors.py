"""What numba lacks: single instructions and vector loops, written in LLVM's terms.

Who changes this file changes the kernel's as well: numba keeps compiled kernels until their own file is newer.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

VECTOR_BITS = 512  # of a vector; machines with narrower ones take several
ROW_BITS = 1024  # of a row of weights, whose sums are kept in registers

ADDRESS = ir.IntType(64)


@intrinsic
def lowest_bit(typing_context: Any, word: Any) -> Any:
    """Position of the lowest set bit of a word that has one."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return word(word), generate


@intrinsic
def add_rows(
    typing_context: Any, weight: Any, weight_from: Any, rows: Any, rows_from: Any, n: Any, sums: Any, sums_from: Any
) -> Any:
    """Add `n` rows of `weight`, given by their 8-bit numbers in `rows`, to `sums`; of each array from an index on, flattened.

    A row has ROW_BITS of integers. They are added in registers, as what they are: numba's own loops would store and load the
    sums for every row. `sums` are 32-bit.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def pointer(array: int, first: int) -> Any:
            data = context.make_array(signature.args[array])(context, builder, arguments[array]).data
            return builder.gep(data, [arguments[first]])

        weights, numbers, totals = pointer(0, 1), pointer(2, 3), pointer(5, 6)
        bits = weight.dtype.bitwidth
        lanes = VECTOR_BITS // bits
        addends, total = (ir.VectorType(ir.IntType(size), lanes) for size in (bits, 32))

        def vector(start: Any, part: int, of: Any) -> Any:
            return builder.bitcast(builder.gep(start, [ir.Constant(ADDRESS, part * lanes)]), of.as_pointer())

        registers = [cgutils.alloca_once(builder, addends) for _ in range(ROW_BITS // VECTOR_BITS)]
        for register in registers:
            builder.store(ir.Constant(addends, None), register)
        with cgutils.for_range(builder, arguments[4], intp=ADDRESS) as loop:
            number = builder.zext(builder.load(builder.gep(numbers, [loop.index])), ADDRESS)
            row = builder.gep(weights, [builder.mul(number, ir.Constant(ADDRESS, ROW_BITS // bits))])
            for part, register in enumerate(registers):
                added = builder.add(builder.load(register), builder.load(vector(row, part, addends), align=bits // 8))
                builder.store(added, register)
        for part, register in enumerate(registers):
            where = vector(totals, part, total)
            added = builder.load(register)
            if bits < 32:
                added = builder.sext(added, total)
            builder.store(builder.add(builder.load(where, align=4), added), where, align=4)
        return context.get_dummy_value()

    whole = types.intp
    return types.void(weight, whole, rows, whole, whole, sums, whole), generate
