"""Damage model files by the thousand and have `separate` run each of them, in processes with little memory and time.

    python -m tests.models.fuzz --files 2000 --seed 0

A file has to be refused in one line with exit status 1, or to separate: then samples are finite, a second run gives the same
bits, and spiking networks give what the plain arithmetic of `separator.snn.stack.reference` gives. All else is listed by
seed, and the exit status is 1. `--keep DIR` keeps the files that fail.
"""

import argparse
import faulthandler
import os
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from random import Random

import numpy as np
import soundfile
import torch

from separator.cli.separate import entry
from separator.models import load_model
from separator.models.tasnet import TasNetConfig
from separator.snn.stack import reference
from tests.models.mutations import mutated
from tests.models.tiny import CONFIG, save_tiny

SECONDS = 20  # after which a file hangs
MEMORY = 1_500_000_000  # bytes beyond what the process has when it starts
SKIPPING = TasNetConfig(16, 8, 6, (1, 2), look_back=(4,), skips=True, norm_window=0.01)
BASES = {
    "analog": (False, CONFIG, None),
    "spiking": (True, CONFIG, None),
    "8 bits": (True, CONFIG, 8),
    "skipping": (True, SKIPPING, 8),
    "analog skipping": (False, SKIPPING, None),
}


def separated(model: Path, mixture: Path, folder: Path) -> tuple[int, str]:
    """Exit status of `separate` and what it says."""
    said = StringIO()
    with redirect_stderr(said), redirect_stdout(said):
        status = entry(["--model", str(model), str(mixture), "-o", str(folder), "--overwrite"])
    return status, said.getvalue()


def verdict(model: Path, mixture: Path, folder: Path) -> str:
    """What becomes of one file: `refused`, `opens`, or a fault."""
    status, said = separated(model, mixture, folder)
    if status == 1:
        line = said.rstrip("\n")
        return "refused" if line.startswith("separate: error: ") and line.isprintable() else f"no line: {said!r}"
    if status != 0:
        return f"exit status {status}: {said!r}"
    sources = [soundfile.read(path)[0] for path in sorted(folder.glob("*.wav"))]
    if not sources or not all(np.isfinite(source).all() for source in sources):
        return "wrong accepted: samples that are no numbers"
    network = load_model(model).network
    samples = torch.from_numpy(soundfile.read(mixture, dtype="float32")[0])[None, : 20 * network.config.stride + 8]
    seen = network.stack_input(network.encode(samples))
    made = network.stack(seen)
    if not torch.equal(made, network.stack(seen)):
        return "wrong accepted: two runs differ"
    if (layers := network.stack.spiking_layers()) and seen.shape[-1] <= 64:
        potential = torch.from_numpy(reference.simulate(layers, seen)).float() * layers[-1].quantum.view(1, -1, 1, 1)
        if not torch.equal(made, network.stack.read(potential)):
            return "wrong accepted: not what plain arithmetic gives"
    return "opens"


def in_a_process(model: Path, mixture: Path, folder: Path) -> str:
    """The verdict of a child with limits; what ends it, if that is no verdict."""
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        text = "traceback"
        try:
            faulthandler.disable()
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(SECONDS)
            limit = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize() + MEMORY
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            text = verdict(model, mixture, folder)
        except BaseException as error:
            text = f"traceback: {type(error).__name__}: {error}"
        os.write(writer, text.encode("utf-8", "replace")[:4000])
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        text = pipe.read().decode("utf-8", "replace")
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return f"hang of over {SECONDS} s" if number == signal.SIGALRM else f"crash: {signal.Signals(number).name}"
    return text


def write_bases(work: Path) -> tuple[dict[str, bytes], Path]:
    """The sound files that are damaged, and a mixture."""
    mixture = work / "mix.wav"
    soundfile.write(mixture, 0.3 * np.random.default_rng(0).standard_normal(2000), 8000, subtype="FLOAT")
    bases = {name: save_tiny(work / f"{name}.safetensors", *made).read_bytes() for name, made in BASES.items()}
    for name in bases:  # here too, so that children find all that is compiled and imported
        assert verdict(work / f"{name}.safetensors", mixture, work / "out") == "opens", name
    return bases, mixture


def main() -> int:
    """Run; exit status 1 if there was a fault."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0, help="of the first file; each has the next one")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="after which no further file begins")
    parser.add_argument("--keep", type=Path, help="folder for the files that fail")
    options = parser.parse_args()
    torch.set_num_threads(1)  # threads would not survive in a child
    seen: Counter[str] = Counter()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        bases, mixture = write_bases(work)
        for seed in range(options.seed, options.seed + options.files):
            if time.monotonic() - begun > 60 * options.minutes:
                break
            random = Random(seed)
            base = random.choice(list(bases))
            damage, raw = mutated(bases[base], random)
            model = work / "mutated.safetensors"
            model.write_bytes(raw)
            found = in_a_process(model, mixture, work / "out")
            seen[found.split(":")[0]] += 1
            if found not in ("refused", "opens"):
                print(f"seed {seed} ({base}, {damage}): {found}", flush=True)
                if options.keep is not None:
                    options.keep.mkdir(parents=True, exist_ok=True)
                    (options.keep / f"{seed}.safetensors").write_bytes(raw)
    print(f"{seen.total()} files in {time.monotonic() - begun:.0f} s: " + ", ".join(f"{n} {what}" for what, n in seen.items()))
    return 0 if set(seen) <= {"refused", "opens"} else 1


if __name__ == "__main__":
    sys.exit(main())
