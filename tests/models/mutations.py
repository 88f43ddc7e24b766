"""Damage to model files, as chance and malice do it. Everything follows from the generator of random numbers."""

import json
import struct
from collections.abc import Callable
from random import Random
from typing import Any

from separator.models.card import KEY

# What a careless or hostile writer may put in the place of a value.
VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 2, 3, 7, 31, 32, 33, 255, 4096, 12000, 65536, 10**6, 10**9, 2**31, 2**53, 2**63, 10**400),
    *(0.0, -0.0, 0.5, 1.0, 1.5, -0.5, 1e-300, 1e30, 1e308, float("nan"), float("inf"), float("-inf")),
    *("", "x", "potential", "pipelined", "F32", "I8", "\x1b[2J\x1b]0;owned\x07\nall is well", "\ud800", "\u202e", "c8-" * 2000),
    *([], {}, [1], [0], [-1], [2**40], [1] * 3000, [[]], {"a": 1}, ["1", "2"]),
]  # fmt: skip
NUMBERS = {
    "F32": ("<f", [0.0, -1.0, 0.3, 1e-45, 2.0**-140, 2.0**70, 1e38, float("nan"), float("inf"), float("-inf")]),
    "I32": ("<i", [0, 1, -1, 127, 2**15, 2**23, 2**24, 2**24 + 1, 2**30, 2**31 - 1, -(2**31)]),
    "I8": ("<b", [0, 1, -1, 127, -128]),
    "I64": ("<q", [0, -1, 2**62, -(2**63)]),
}  # fmt: skip


class ModelFile:
    """A safetensors file taken apart: `raw()` puts it together, whatever it has become."""

    def __init__(self, raw: bytes) -> None:
        (length,) = struct.unpack("<Q", raw[:8])
        self.header: dict[str, Any] = json.loads(raw[8 : 8 + length])
        self.card: Any = json.loads(self.header.pop("__metadata__")[KEY])
        data = raw[8 + length :]
        self.data = {name: data[slice(*entry["data_offsets"])] for name, entry in self.header.items()}

    def set_tensor(self, name: str, dtype: str, shape: list[int], data: bytes) -> None:
        """Replace a tensor, all of it fitting together."""
        self.header[name] = {"dtype": dtype, "shape": shape}
        self.data[name] = data

    def raw(self, change_header: Callable[[dict[str, Any]], None] | None = None) -> bytes:
        """The file, offsets put right, the header changed last."""
        end = 0
        for name, entry in self.header.items():
            entry["data_offsets"] = [end, end := end + len(self.data[name])]
        header = {"__metadata__": {KEY: json.dumps(self.card)}} | self.header
        if change_header is not None:
            change_header(header)
        text = json.dumps(header).encode()
        return struct.pack("<Q", len(text)) + text + b"".join(self.data.values())


def mutated(raw: bytes, random: Random) -> tuple[str, bytes]:
    """What was done, and what the file is then."""
    kind = random.choice([_bytes, _length, _card, _card, _card, _numbers, _numbers, _numbers, _tensor, _tensor, _header])
    return kind.__name__.strip("_"), kind(raw, random)


def _bytes(raw: bytes, random: Random) -> bytes:
    changed = bytearray(raw)
    (length,) = struct.unpack("<Q", raw[:8])
    end = random.choice([8, 8 + length, len(raw)])
    for _ in range(random.choice([1, 1, 2, 8])):
        changed[random.randrange(end)] = random.randrange(256)
    return bytes(changed)


def _length(raw: bytes, random: Random) -> bytes:
    cut = random.choice([0, 1, 7, 8, 9, random.randrange(len(raw)), len(raw) - 1])
    return raw[:cut] if random.random() < 0.7 else raw + bytes(random.choice([1, 8, 4096]))


def _card(raw: bytes, random: Random) -> bytes:
    file = ModelFile(raw)
    for _ in range(random.choice([1, 1, 1, 2])):
        file.card = _changed(file.card, random)
    return file.raw()


def _changed(value: Any, random: Random) -> Any:
    """A value with one leaf, or one entry, that is another."""
    if isinstance(value, dict) and value and random.random() < 0.95:
        name = random.choice(list(value))
        rest = {key: item for key, item in value.items() if key != name}
        change = random.random()
        if change < 0.1:
            return rest
        if change < 0.15:
            return rest | {random.choice(["", "x", "\x1b[31m", "window"]): value[name]}
        return value | {name: _changed(value[name], random)}
    if isinstance(value, list) and value and random.random() < 0.5:
        at = random.randrange(len(value))
        return [*value[:at], _changed(value[at], random), *value[at + 1 :]]
    if type(value) is int and random.random() < 0.4:
        whole = [value + 1, value - 1, value * 2, -value, value * 10**6, str(value)]
        return random.choice([*whole, float(value) if abs(value) < 2**1000 else -1.0])  # it may have been damaged before
    return random.choice(VALUES)


def _numbers(raw: bytes, random: Random) -> bytes:
    """Some numbers of a tensor, or all."""
    file = ModelFile(raw)
    name = random.choice(list(file.header))
    form, values = NUMBERS[file.header[name]["dtype"]]
    size, data = struct.calcsize(form), bytearray(file.data[name])
    places = range(0, len(data), size)
    value = random.choice(values)
    for at in random.choice([places, random.sample(places, 1), random.sample(places, min(3, len(places)))]):
        data[at : at + size] = struct.pack(form, value)
    file.data[name] = bytes(data)
    return file.raw()


def _tensor(raw: bytes, random: Random) -> bytes:
    """Tensors missing, surplus, of another shape or another type, in a file that fits together."""
    file = ModelFile(raw)
    name = random.choice(list(file.header))
    entry, data = file.header[name], file.data[name]
    what = random.choice(["drop", "rename", "reshape", "resize", "empty", "retype", "swap"])
    if what == "drop":
        del file.header[name], file.data[name]
    elif what == "rename":
        file.set_tensor(random.choice(["x", "\x1b[31m", "stack.layers.9.weight"]), entry["dtype"], entry["shape"], data)
        del file.header[name], file.data[name]
    elif what == "reshape":
        shape = random.choice([[1, *entry["shape"]], entry["shape"][::-1], [*entry["shape"], 1], entry["shape"][1:] or [1]])
        if len(shape) > len(entry["shape"]) or shape == entry["shape"][::-1]:
            file.set_tensor(name, entry["dtype"], shape, data)
        else:
            file.set_tensor(name, entry["dtype"], shape, data[: max(1, len(data) // max(1, *entry["shape"][:1]))])
    elif what == "resize":
        times = random.choice([2, 512])
        first, *rest = entry["shape"] or [1]
        file.set_tensor(name, entry["dtype"], [first * times, *rest], data * times)
    elif what == "empty":
        file.set_tensor(name, entry["dtype"], [0, *entry["shape"][1:]], b"")
    elif what == "retype":
        file.set_tensor(name, random.choice(["F32", "I32", "U32", "F64", "BOOL", "BF16", "X9"]), entry["shape"], data)
    else:
        other = random.choice(list(file.header))
        file.header[name], file.header[other] = file.header[other], file.header[name]
        file.data[name], file.data[other] = file.data[other], file.data[name]
    return file.raw()


def _header(raw: bytes, random: Random) -> bytes:
    """Entries of the header that fit neither each other nor the data."""

    def change(header: dict[str, Any]) -> None:
        name = random.choice(list(header))
        if random.random() < 0.2:
            header[name] = random.choice(VALUES)
        elif name == "__metadata__":
            header[name] = random.choice([{}, {KEY: ""}, {KEY: "[" * 5000}, {KEY: "1" * 5000}, {KEY: 7}, {"other": "x"}])
        else:
            field = random.choice(list(header[name]))
            header[name] = header[name] | {field: random.choice([*VALUES, [0, 2**62], [8, 4], [2**31, 2**33], [-1, 4]])}

    return ModelFile(raw).raw(change)
