"""The command `separator` as the recipes call it, without seconds of imports each time.

A server that imports all that the commands need, at the first call, runs each call in a process forked from itself, with the
arguments, folder, environment and standard streams of the caller.

  python -m tests.recipes.command_server     prints a folder with a script `separator`, and serves it until its input ends
"""

import gc
import json
import os
import pkgutil
import select
import signal
import socket
import stat
import sys
import traceback
from functools import cache
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from numba.core.registry import cpu_target
from PIL import Image

import separator
from separator import parallel
from separator.cli.main import COMMANDS, main
from tests.pictures import leave_blank
from tests.recipes.running import BLANK

# What commands import when they run, or what does that they call: a second or two of each call.
LIBRARIES = (
    "asteroid.losses",
    "docstring_parser",
    "jsonargparse",
    "matplotlib.backends.backend_agg",
    "matplotlib.figure",
    "parselmouth",
    "torch.utils.tensorboard",
    "torchvision",
)

# A caller hands Ctrl-C on to the process that runs its call, and waits for its exit status; nothing comes where it was killed.
CALL = """#!{python} -IS
import json, os, signal, socket, sys

with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    call = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
    socket.send_fds(server, [len(call).to_bytes(8, "big")], [0, 1, 2])
    server.sendall(call)
    process = int.from_bytes(server.recv(4), "big")
    signal.signal(signal.SIGINT, lambda *_: os.kill(process, signal.SIGINT))
    status = server.recv(1)
sys.exit(status[0] if status else "separator: its process was killed")
"""


@cache
def load() -> None:
    """Import all commands, and what they import when they run; benchmarks have processes of their own."""
    for name in COMMANDS:
        import_module(f"separator.cli.commands.{name.replace('-', '_')}")
    for module in pkgutil.walk_packages(separator.__path__, "separator."):
        if "benchmark" not in module.name:
            import_module(module.name)
    for library in LIBRARIES:
        import_module(library)
    Image.init()  # formats of pictures
    cpu_target.target_context.refresh()  # what compiled kernels that were kept want of numba
    gc.freeze()  # all of it lives on, in each process


def serve(folder: Path) -> None:
    """Put a script `separator` into a folder, print the folder, and answer calls."""
    address = str(folder / "calls")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        script = folder / "separator"
        script.write_text(CALL.format(python=sys.executable, address=address))
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        print(folder, flush=True)
        while True:
            waiting, _, _ = select.select([listener, sys.stdin], [], [])
            if sys.stdin in waiting:
                return
            connection, _ = listener.accept()
            load()
            with connection:
                if os.fork() == 0:
                    answer(connection, script)
            reap()


def reap() -> None:
    """Let processes go that have ended."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def answer(connection: socket.socket, script: Path) -> None:
    """Run a call of the script in this process, which ends with it."""
    head, streams, _, _ = socket.recv_fds(connection, 8, 3)
    size, call = int.from_bytes(head, "big"), b""
    while len(call) < size:
        call += connection.recv(size - len(call))
    arguments, folder, environment = json.loads(call)
    for own, stream in enumerate(streams):
        os.dup2(stream, own)
        os.close(stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[:] = [str(script), *arguments]  # a training on several devices calls itself again, by what it was called
    sys.modules["__main__"].__spec__ = None
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a suite run in the background may ignore it
    connection.sendall(os.getpid().to_bytes(4, "big"))
    parallel.METHOD = "fork"  # all is imported here already, and no thread runs yet
    if BLANK in environment:
        leave_blank(pytest.MonkeyPatch())
    status = run(arguments)
    connection.sendall(bytes([status]))
    os._exit(status)


def run(arguments: list[str]) -> int:
    """Exit status of a call, as Python gives it to a script that ends with `sys.exit(main())`."""
    try:
        status: object = main(arguments)
    except SystemExit as stop:
        status = stop.code
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    return status if isinstance(status, int) else int(status is not None)


if __name__ == "__main__":
    with TemporaryDirectory(prefix="separator-") as place:
        serve(Path(place))
