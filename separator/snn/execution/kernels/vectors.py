"""Vector operations, which numba lacks, written in LLVM's terms, which become whatever instructions the machine has.

Arrays are given with an index to start from, as if flattened.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

VECTOR = 64  # bytes; machines with shorter vectors take several
LANES = 128  # neurons, at most, whose sums are kept in registers; a row of weights has one byte for each
WORDS = 32  # that are searched for spikes at once
MOVED = 32  # row numbers that are moved at once
UNROLLED = 4  # rows that are added between two looks at whether there are more
ROWS_AT_ONCE = 256  # rows of bytes that add up in 16 bits without overflow
CACHE_LINE = 64  # bytes
BYTES = 32  # spikes of a byte that are searched at once
NUMBERED = 8  # values that are searched for others than 0 at once, as many bits as a byte has
TILE, MOST_TILES = 8, 8  # outputs whose sums make a vector of 32 bits, and how many of these are kept in registers

ADDRESS, INT8, INT16, INT32 = (ir.IntType(bits) for bits in (64, 8, 16, 32))
SHORTS, INTEGERS = (ir.VectorType(kind, VECTOR * 8 // kind.width) for kind in (INT16, INT32))
OCTET, NUMBERS = ir.VectorType(INT16, 8), ir.VectorType(INT16, WORDS)

# The positions of the set bits of each byte, lowest first, then those of the others.
SET_BITS = np.argsort(~np.arange(256)[:, None] >> np.arange(8) & 1, kind="stable").tolist()


# How many vectors a row has is told to compiled functions by the type of an argument, this tuple; its numbers mean nothing.
Vectors = tuple[int, ...]


def vectors_for(neurons: int) -> Vectors:
    """Those of a row of a block for so many neurons, as many as LANES need if there are more."""
    return (0,) * (min(LANES, -(-neurons // VECTOR) * VECTOR) // VECTOR)


def tiles_for(outputs: int) -> Vectors:
    """Tiles of a row of a block for so many outputs, as many as are kept in registers if there are more."""
    return (0,) * min(MOST_TILES, -(-outputs // TILE))


def lane_order(lanes: int) -> Any:
    """Neuron of the block whose weight each byte of a row is, such that `add_rows` has the sums in order. Shape: (lanes,)."""
    return np.arange(lanes).reshape(-1, 4, VECTOR // 4).transpose(0, 2, 1).ravel()


def on_cache_lines(shape: tuple[int, ...], kind: type[np.generic]) -> NDArray[Any]:
    """Numbers that start on a cache line: rows that straddle two take twice the time to fetch."""
    size = int(np.prod(shape)) * np.dtype(kind).itemsize
    room = np.empty(size + CACHE_LINE, np.uint8)
    start = -room.ctypes.data % CACHE_LINE
    return room[start : start + size].view(kind).reshape(shape)


def _constant(of: Any, value: int) -> Any:
    return ir.Constant(of, [value] * of.count if isinstance(of, ir.VectorType) else value)


def _repeated(builder: Any, value: Any, of: Any) -> Any:
    """A vector with `value`, cut to the size of its elements, in each."""
    first = builder.insert_element(ir.Constant(of, ir.Undefined), builder.trunc(value, of.element), _constant(INT32, 0))
    return builder.shuffle_vector(first, first, ir.Constant(ir.VectorType(INT32, of.count), None))


def _pointers(context: Any, builder: Any, signature: Any, arguments: Any) -> Callable[[int, int], Any]:
    """A function that gives addresses of elements from the numbers of two arguments: an array and an index."""

    def pointer(array: int, first: int) -> Any:
        data = context.make_array(signature.args[array])(context, builder, arguments[array]).data
        return builder.gep(data, [arguments[first]])

    return pointer


def _vector(builder: Any, start: Any, of: Any, n: int = 0) -> Any:
    """Address of the n-th vector from an element on."""
    return builder.bitcast(builder.gep(start, [_constant(ADDRESS, n * of.count)]), of.as_pointer())


@intrinsic
def bits_set(typing_context: Any, number: Any) -> Any:
    """Number of bits that are set in an unsigned number."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.zext(builder.ctpop(arguments[0]), ADDRESS)

    return types.intp(number), generate


@intrinsic
def lowest_bit(typing_context: Any, number: Any) -> Any:
    """Position of the lowest bit that is set in an unsigned number, which is not 0."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.zext(builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1)), ADDRESS)

    return types.intp(number), generate


@intrinsic
def not_silent(typing_context: Any, spikes: Any, first: Any) -> Any:
    """Which of BYTES bytes from `first` on are not 0, as the bits of an unsigned number."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        of = ir.VectorType(INT8, BYTES)
        found = builder.load(_vector(builder, _pointers(context, builder, signature, arguments)(0, 1), of), align=1)
        return builder.bitcast(builder.icmp_unsigned("!=", found, _constant(of, 0)), ir.IntType(BYTES))

    return types.uint32(spikes, types.intp), generate


@intrinsic
def tell_runs(typing_context: Any, words: Any, first: Any, window: Any, parts: Any, part_size: Any) -> Any:
    """Part the trains of the words `first` to `first` + WORDS - 1 into single spikes and runs: where these begin and end.

    A run is three spikes or more one after the other; those that the window cuts short may have been going on. A run ends at
    the first step without a spike, if that is within the window. Shapes: words (C,), 32 bits; parts (3, 2, part_size), 16 bits:
    single spikes, begins and ends, each the first 16 steps and the others; part_size is C or more.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointers(context, builder, signature, arguments)
        of = ir.VectorType(INT32, WORDS)
        one = _constant(of, 1)
        last = _repeated(builder, builder.sub(arguments[2], _constant(ADDRESS, 1)), of)
        trains = builder.load(_vector(builder, pointer(0, 1), of), align=4)
        going_on = builder.and_(trains, builder.shl(one, last))  # at the last step
        # Whether there is a spike one step on, and two.
        next_one = builder.or_(builder.lshr(trains, one), going_on)
        next_two = builder.or_(builder.lshr(next_one, one), going_on)
        firsts = builder.and_(trains, builder.and_(next_one, next_two))  # of three spikes
        seconds = builder.shl(firsts, one)
        runs = builder.and_(trains, builder.or_(firsts, builder.or_(seconds, builder.shl(seconds, one))))
        before = builder.shl(runs, one)
        within = builder.lshr(_constant(of, -1), builder.sub(_constant(of, 31), last))
        singles = builder.and_(trains, builder.not_(runs))
        begins = builder.and_(runs, builder.not_(before))
        ends = builder.and_(within, builder.and_(before, builder.not_(runs)))
        place = pointer(3, 1)
        for part in (singles, begins, ends):
            for half in (part, builder.lshr(part, _constant(of, 16))):
                steps = builder.trunc(half, NUMBERS)
                builder.store(steps, _vector(builder, place, NUMBERS), align=2)
                place = builder.gep(place, [arguments[4]])
        return context.get_dummy_value()

    whole = types.intp
    return types.void(words, whole, whole, parts, whole), generate


@intrinsic
def append_spiking(
    typing_context: Any, trains: Any, trains_from: Any, step: Any, numbers: Any, first: Any, rows: Any, n: Any
) -> Any:
    """List those of WORDS trains of 16 steps that have a spike at `step`: write their numbers in `rows` from `n` on.

    Their numbers are `first` and on, and `numbers` has each number at its own place. There is no branch; so up to WORDS places
    after the last number are overwritten.

    Returns:
        where the next number goes.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointers(context, builder, signature, arguments)
        trains = builder.load(_vector(builder, pointer(0, 1), NUMBERS), align=2)
        bit = _repeated(builder, builder.shl(_constant(ADDRESS, 1), arguments[2]), NUMBERS)
        spiking = builder.icmp_unsigned("!=", builder.and_(trains, bit), _constant(NUMBERS, 0))
        place, n = pointer(5, 6), arguments[6]
        if "+avx512vbmi2" in context.codegen().magic_tuple()[2]:
            found = builder.load(_vector(builder, pointer(3, 4), NUMBERS), align=2)
            return _write_compressed(builder, spiking, found, place, n)
        return _write_looked_up(builder, spiking, arguments[4], place, n)

    whole = types.intp
    return whole(trains, whole, whole, numbers, whole, rows, whole), generate


def _write_compressed(builder: Any, spiking: Any, numbers: Any, place: Any, n: Any) -> Any:
    """Write those numbers of WORDS that are spiking by the one instruction that some machines have for it."""
    kind = ir.FunctionType(NUMBERS, [NUMBERS, NUMBERS, ir.VectorType(ir.IntType(1), WORDS)])
    compress = cgutils.get_or_insert_function(builder.module, kind, f"llvm.x86.avx512.mask.compress.v{WORDS}i16")
    kept = builder.call(compress, [numbers, _constant(NUMBERS, 0), spiking])
    builder.store(kept, _vector(builder, place, NUMBERS), align=2)
    return builder.add(n, builder.zext(builder.ctpop(builder.bitcast(spiking, ir.IntType(WORDS))), ADDRESS))


def _write_looked_up(builder: Any, spiking: Any, first: Any, place: Any, n: Any) -> Any:
    """Write the numbers, from `first` on, of those of WORDS that are spiking, eight at a time."""
    table = _set_bits(builder)
    bits = builder.bitcast(spiking, ir.IntType(WORDS))
    for start in range(0, WORDS, 8):
        octet = builder.trunc(builder.lshr(bits, _constant(bits.type, start)), INT8)
        count = _write_octet(builder, table, octet, builder.add(first, _constant(ADDRESS, start)), place, OCTET)
        place, n = builder.gep(place, [count]), builder.add(n, count)
    return n


def _set_bits(builder: Any) -> Any:
    """The table SET_BITS."""
    octets = ir.ArrayType(OCTET, 256)
    return cgutils.global_constant(builder, "set_bits", ir.Constant(octets, [ir.Constant(OCTET, x) for x in SET_BITS]))


def _write_octet(builder: Any, table: Any, octet: Any, first: Any, place: Any, of: Any) -> Any:
    """Write the numbers, from `first` on, of the bits of a byte that are set, as a vector `of` eight; how many they are."""
    found = builder.load(builder.gep(table, [_constant(INT32, 0), builder.zext(octet, ADDRESS)]))
    found = found if of == OCTET else builder.zext(found, of)
    builder.store(builder.add(found, _repeated(builder, first, of)), _vector(builder, place, of), align=2)
    return builder.zext(builder.ctpop(octet), ADDRESS)


@intrinsic
def append_numbers(typing_context: Any, values: Any, values_from: Any, n: Any, first: Any, rows: Any, rows_from: Any) -> Any:
    """List which of `n` values, at most NUMBERED, are not 0: their numbers, `first` and on, go to `rows`, from `rows_from` on.

    Both have 32 bits, and room for NUMBERED whatever `n` is: there is no branch.

    Returns:
        where the next number goes.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointers(context, builder, signature, arguments)
        of = ir.VectorType(INT32, NUMBERED)
        found = builder.load(_vector(builder, pointer(0, 1), of), align=4)
        one = _constant(ADDRESS, 1)
        valid = builder.trunc(builder.sub(builder.shl(one, arguments[2]), one), INT8)
        octet = builder.and_(builder.bitcast(builder.icmp_unsigned("!=", found, _constant(of, 0)), INT8), valid)
        return builder.add(arguments[5], _write_octet(builder, _set_bits(builder), octet, arguments[3], pointer(4, 5), of))

    whole = types.intp
    return whole(values, whole, whole, whole, rows, whole), generate


@intrinsic
def move_rows(typing_context: Any, rows: Any, rows_from: Any, added: Any, target: Any, target_from: Any) -> Any:
    """Write MOVED row numbers to another place, with a number added to each."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointers(context, builder, signature, arguments)
        of = ir.VectorType(INT16, MOVED)
        numbers = builder.load(_vector(builder, pointer(0, 1), of), align=2)
        moved = builder.add(numbers, _repeated(builder, arguments[2], of))
        builder.store(moved, _vector(builder, pointer(3, 4), of), align=2)
        return context.get_dummy_value()

    whole = types.intp
    return types.void(rows, whole, whole, target, whole), generate


ODD, MOST = (
    0b10010110,
    0b11101000,
)  # functions of three bits, by their values: an odd number of them is set, and at least two are


def _of_three_bits(builder: Any, function: int, *bits: Any) -> Any:
    """A function of three bits, of each bit of three vectors, by the one instruction that some machines have for it."""
    kind = ir.FunctionType(INTEGERS, [INTEGERS] * 3 + [INT32])
    compute = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.avx512.pternlog.d.512")
    arguments = [builder.bitcast(x, INTEGERS) for x in bits]
    return builder.bitcast(builder.call(compute, [*arguments, ir.Constant(INT32, function)]), bits[0].type)


@intrinsic
def add_rows(
    typing_context: Any, weight: Any, weight_from: Any, rows: Any, rows_from: Any, n: Any, sums: Any, sums_from: Any,
    shift: Any, taken: Any, vectors: Any,
) -> Any:  # fmt: skip
    """Add `n` rows of `weight`, given by their numbers in `rows`, to `sums`, shifted to the left; take them if `taken` is 1.

    A row has so many vectors of bytes from 0 to 255, in `lane_order`; `n` is a multiple of UNROLLED, at most ROWS_AT_ONCE.

    Rows are added in registers: as numbers of 16 bits that are two bytes each, and once more the upper bytes alone. The sum
    of the upper bytes is right, and taking it from the other sum, where it has overflowed, leaves the sum of the lower ones.
    Rows of 16 bits would take fewer instructions, but twice the memory, and to fetch that is what takes the time.

    Where a machine computes any function of three bits at once, four rows are first made one: their bits are added as numbers
    are on paper, with ones and twos carried on to the next rows, and only what comes to four is added as above.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointers(context, builder, signature, arguments)
        table, numbers, totals = pointer(0, 1), pointer(2, 3), pointer(5, 6)
        places = range(vectors.count)
        byte = _constant(SHORTS, 8)
        carries = "+avx512f" in context.codegen().magic_tuple()[2]
        both, upper, ones, twos = ([cgutils.alloca_once(builder, SHORTS) for _ in places] for _ in range(4))
        for register in (*both, *upper, *ones, *twos):
            builder.store(_constant(SHORTS, 0), register)

        def add(v: int, pairs: Any) -> None:
            builder.store(builder.add(builder.load(both[v]), pairs), both[v])
            builder.store(builder.add(builder.load(upper[v]), builder.lshr(pairs, byte)), upper[v])

        def carry(register: Any, first: Any, second: Any) -> Any:
            """Add to a register what fits in its bits; returns what does not."""
            bits = builder.load(register)
            builder.store(_of_three_bits(builder, ODD, bits, first, second), register)
            return _of_three_bits(builder, MOST, bits, first, second)

        turns = builder.udiv(arguments[4], _constant(ADDRESS, UNROLLED))
        with cgutils.for_range(builder, turns, intp=ADDRESS) as loop:
            starts = []
            for k in range(UNROLLED):
                place = builder.add(builder.mul(loop.index, _constant(ADDRESS, UNROLLED)), _constant(ADDRESS, k))
                number = builder.zext(builder.load(builder.gep(numbers, [place])), ADDRESS)
                starts.append(builder.gep(table, [builder.mul(number, _constant(ADDRESS, vectors.count * VECTOR))]))
            for v in places:
                found = [builder.gep(start, [_constant(ADDRESS, v * VECTOR)]) for start in starts]
                first, second, third, fourth = (
                    builder.load(builder.bitcast(row, SHORTS.as_pointer()), align=1) for row in found
                )
                if carries:
                    pair, other = carry(ones[v], first, second), carry(ones[v], third, fourth)
                    add(v, carry(twos[v], pair, other))
                else:
                    for row in (first, second, third, fourth):
                        add(v, row)
        if carries:
            for v in places:
                for register in (both[v], upper[v]):  # fours
                    builder.store(builder.shl(builder.load(register), _constant(SHORTS, 2)), register)
                add(v, builder.load(ones[v]))
                pairs = builder.load(twos[v])
                add(v, pairs)
                add(v, pairs)
        half, shifts = _constant(INTEGERS, 16), _repeated(builder, arguments[7], INTEGERS)
        sign = _repeated(builder, builder.neg(arguments[8]), INTEGERS)  # all ones to negate, as two's complement has it
        for v in places:
            odd = builder.load(upper[v])
            even = builder.sub(builder.load(both[v]), builder.shl(odd, byte))
            pairs_of_sums = [builder.bitcast(sums, INTEGERS) for sums in (even, odd)]
            lower = [builder.and_(pair, _constant(INTEGERS, 2**16 - 1)) for pair in pairs_of_sums]
            for k, sums in enumerate((*lower, *(builder.lshr(pair, half) for pair in pairs_of_sums))):
                where = _vector(builder, totals, INTEGERS, 4 * v + k)
                signed = builder.sub(builder.xor(builder.shl(sums, shifts), sign), sign)
                builder.store(builder.add(builder.load(where, align=4), signed), where, align=4)
        return context.get_dummy_value()

    whole = types.intp
    return types.void(weight, whole, rows, whole, whole, sums, whole, whole, whole, vectors), generate


@intrinsic
def add_pairs(
    typing_context: Any, weight: Any, weight_from: Any, values: Any, values_from: Any, rows: Any, first: Any, n: Any,
    sums: Any, sums_from: Any, tiles: Any,
) -> Any:  # fmt: skip
    """Add to `sums`, (tiles x TILE,), 32 bits, `n` rows of `weight`, times the two numbers that belong to each.

    A row has the weights of two inputs, (tiles x TILE, 2), 16 bits, and `values` at the same number what the two inputs are,
    each 16 bits of 32; `rows` has the numbers, from `first` on. Many machines multiply and add pairs by one instruction, which
    does not overflow unless all four numbers are -2^15.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointers(context, builder, signature, arguments)
        table, inputs, numbers, totals = pointer(0, 1), pointer(2, 3), pointer(4, 5), pointer(7, 8)
        places = range(tiles.count)
        of, pairs = ir.VectorType(INT32, TILE), ir.VectorType(INT16, 2 * TILE)
        registers = [cgutils.alloca_once(builder, of) for _ in places]
        for v in places:
            builder.store(builder.load(_vector(builder, totals, of, v), align=4), registers[v])
        with cgutils.for_range(builder, arguments[6], intp=ADDRESS) as loop:
            number = builder.zext(builder.load(builder.gep(numbers, [loop.index])), ADDRESS)
            row = builder.gep(table, [builder.mul(number, _constant(ADDRESS, 2 * TILE * tiles.count))])
            value = builder.load(builder.gep(inputs, [number]))
            both = builder.bitcast(_repeated(builder, builder.zext(value, ADDRESS), of), pairs)
            for v in places:
                weights = builder.load(_vector(builder, row, pairs, v), align=2)
                products = _multiplied_in_pairs(context, builder, weights, both)
                builder.store(builder.add(builder.load(registers[v]), products), registers[v])
        for v in places:
            builder.store(builder.load(registers[v]), _vector(builder, totals, of, v), align=4)
        return context.get_dummy_value()

    whole = types.intp
    return types.void(weight, whole, values, whole, rows, whole, whole, sums, whole, tiles), generate


def _multiplied_in_pairs(context: Any, builder: Any, x: Any, y: Any) -> Any:
    """Sums of the products of neighbours, of 16 bits, in 32 bits."""
    of = ir.VectorType(INT32, TILE)
    if "+avx2" in context.codegen().magic_tuple()[2]:
        kind = ir.FunctionType(of, [x.type, y.type])
        multiply = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.avx2.pmadd.wd")
        return builder.call(multiply, [x, y])
    wide = ir.VectorType(INT32, 2 * TILE)
    products = builder.mul(builder.sext(x, wide), builder.sext(y, wide))
    each = [ir.Constant(of, list(range(start, 2 * TILE, 2))) for start in (0, 1)]
    return builder.add(*(builder.shuffle_vector(products, ir.Constant(wide, ir.Undefined), chosen) for chosen in each))


@intrinsic
def fire(
    typing_context: Any, v: Any, v_from: Any, packed: Any, packed_from: Any, current: Any, current_from: Any,
    more: Any, more_from: Any, threshold: Any, threshold_from: Any, less: Any, step: Any, vectors: Any,
) -> Any:  # fmt: skip
    """Charge neurons with two currents less something, compare, reset by subtraction, and pack the spikes of the step.

    There are as many neurons as a row of so many vectors has bytes.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointers(context, builder, signature, arguments)
        *arrays, less, step = [pointer(n, n + 1) for n in range(0, 10, 2)] + list(arguments[10:12])
        missing, bit = (_repeated(builder, x, INTEGERS) for x in (less, builder.shl(_constant(ADDRESS, 1), step)))
        nothing = _constant(INTEGERS, 0)
        for n in range(vectors.count * VECTOR // INTEGERS.count):
            addresses = [_vector(builder, array, INTEGERS, n) for array in arrays]
            v, packed, current, more, threshold = (builder.load(address, align=4) for address in addresses)
            charged = builder.add(v, builder.add(more, builder.sub(current, missing)))
            fires = builder.icmp_signed(">=", charged, threshold)
            builder.store(builder.sub(charged, builder.select(fires, threshold, nothing)), addresses[0], align=4)
            builder.store(builder.or_(packed, builder.select(fires, bit, nothing)), addresses[1], align=4)
        return context.get_dummy_value()

    whole = types.intp
    arrays = (v, whole, packed, whole, current, whole, more, whole, threshold, whole)
    return types.void(*arrays, whole, whole, vectors), generate


@intrinsic
def fire_either(
    typing_context: Any, v: Any, current: Any, fired: Any, first: Any, above: Any, below: Any, up_at: Any, down_at: Any,
    next_up: Any, next_down: Any, most: Any, tiles: Any,
) -> Any:  # fmt: skip
    """Charge tiles x TILE neurons with two thresholds from `first` on, compare, and reset by subtraction.

    Potentials and currents have 32 bits, spikes, which are -1, 0 or 1, 8 bits. Potentials saturate at `most`.

    Returns:
        which of the neurons had reached `next_up` or `next_down`, as the bits of an unsigned number.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointers(context, builder, signature, arguments)
        lanes = TILE * tiles.count
        of, bytes_of = ir.VectorType(INT32, lanes), ir.VectorType(INT8, lanes)
        above, below, up_at, down_at, next_up, next_down, most = (
            _repeated(builder, builder.sext(x, ADDRESS), of) for x in arguments[4:11]
        )
        places, nothing = _vector(builder, pointer(0, 3), of), _constant(of, 0)
        current = builder.load(_vector(builder, pointer(1, 3), of), align=4)
        charged = builder.add(builder.load(places, align=4), current)
        charged = builder.select(builder.icmp_signed(">", charged, most), most, charged)
        least = builder.sub(nothing, most)
        charged = builder.select(builder.icmp_signed("<", charged, least), least, charged)
        up, down = builder.icmp_signed(">=", charged, up_at), builder.icmp_signed("<=", charged, down_at)
        left = builder.sub(charged, builder.select(up, above, nothing))
        builder.store(builder.add(left, builder.select(down, below, nothing)), places, align=4)
        spikes = builder.sub(builder.zext(up, bytes_of), builder.zext(down, bytes_of))
        builder.store(spikes, _vector(builder, pointer(2, 3), bytes_of), align=1)
        more = builder.or_(builder.icmp_signed(">=", charged, next_up), builder.icmp_signed("<=", charged, next_down))
        bits = builder.bitcast(more, ir.IntType(lanes))
        return bits if lanes == 32 else builder.zext(bits, INT32)

    number = types.int32
    return types.uint32(v, current, fired, types.intp, *[number] * 7, tiles), generate
