"""What numba lacks: single instructions and vector loops, written in LLVM's terms.

Who changes this file changes the kernel's as well: numba keeps compiled kernels until their own file is newer.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

WIDTH = 32  # outputs whose sums are kept in registers: of 384 inputs, their 32-bit weights take 48 KiB
LANES = 16  # of a vector; machines with narrower ones take several

INDEX, NUMBER, ADDRESS = ir.IntType(16), ir.IntType(32), ir.IntType(64)
VECTOR = ir.VectorType(NUMBER, LANES)


@intrinsic
def lowest_bit(typing_context: Any, word: Any) -> Any:
    """Position of the lowest set bit of a word that has one."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return word(word), generate


@intrinsic
def add_rows(typing_context: Any, weight: Any, rows: Any, n: Any, sums: Any) -> Any:
    """(weight, rows, n, sums): add rows of a weight matrix, given by `n` 16-bit indices, to `sums`.

    All but `n` are addresses. A row has WIDTH 32-bit integers, which stay in registers as sums: numba's own loops would store
    and load them for every row.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        weights, indices, n, totals = arguments
        weights = builder.inttoptr(weights, NUMBER.as_pointer())
        indices = builder.inttoptr(indices, INDEX.as_pointer())
        totals = builder.inttoptr(totals, NUMBER.as_pointer())

        def vector(row: Any, part: int) -> Any:
            return builder.bitcast(builder.gep(row, [ir.Constant(ADDRESS, part * LANES)]), VECTOR.as_pointer())

        registers = [cgutils.alloca_once(builder, VECTOR) for _ in range(WIDTH // LANES)]
        for part, register in enumerate(registers):
            builder.store(builder.load(vector(totals, part), align=4), register)
        with cgutils.for_range(builder, n, intp=ADDRESS) as loop:
            index = builder.zext(builder.load(builder.gep(indices, [loop.index])), ADDRESS)
            row = builder.gep(weights, [builder.mul(index, ir.Constant(ADDRESS, WIDTH))])
            for part, register in enumerate(registers):
                builder.store(builder.add(builder.load(register), builder.load(vector(row, part), align=4)), register)
        for part, register in enumerate(registers):
            builder.store(builder.load(register), vector(totals, part), align=4)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.intp, types.intp), generate
