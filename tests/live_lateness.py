"""How late live sources come when several streams share the machine: python tests/live_lateness.py [STREAMS] [SECONDS].

Feeds `separate --stream` 20 ms at a time, in real time, and prints a line for each stream: milliseconds from the moment when a
sample of the mixture came to the moment when its sources came out.
"""

import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np

RATE, BLOCK = 8000, 160
COMMAND = [sys.executable, "-m", "separator.cli.separate", "--stream", "--raw", "s16le", "--rate", str(RATE)]


class Stream:
    """One process that separates noise while it comes."""

    def __init__(self, seconds: float) -> None:
        self.wave = (np.random.default_rng(0).normal(size=round(seconds * RATE)) * 1000).astype("<i2")
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        self.process = subprocess.Popen(COMMAND, cwd=Path(__file__).parents[1], **pipes)
        self.process.stderr.readline()  # it has loaded
        self.late: list[float] = []

    def run(self) -> None:
        """Feed it, and note in seconds how late each piece of the sources comes."""
        reader = threading.Thread(target=self._read)
        self.began = time.perf_counter()
        reader.start()
        for start in range(0, len(self.wave), BLOCK):
            block = self.wave[start : start + BLOCK]
            time.sleep(max(0.0, self.began + (start + len(block)) / RATE - time.perf_counter()))
            self.process.stdin.write(block.tobytes())
            self.process.stdin.flush()
        self.process.stdin.close()
        reader.join()
        assert self.process.wait() == 0

    def _read(self) -> None:
        frames = 0
        while data := self.process.stdout.read1(1 << 16):
            frames += len(data) // 4
            self.late.append(time.perf_counter() - self.began - frames / RATE)


def lateness(streams: int, seconds: float) -> list[np.ndarray]:
    """Lateness of all pieces of each stream, in milliseconds."""
    running = [Stream(seconds) for _ in range(streams)]
    threads = [threading.Thread(target=stream.run) for stream in running]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [1000 * np.array(stream.late) for stream in running]


if __name__ == "__main__":
    given = [float(text) for text in sys.argv[1:]]
    for late in lateness(int(given[0]) if given else 1, given[1] if len(given) > 1 else 10.0):
        print(f"median {np.median(late):.0f} ms, 95 % {np.percentile(late, 95):.0f} ms, worst {late.max():.0f} ms")
