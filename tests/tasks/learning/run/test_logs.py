import signal

import pytest
from pytorch_lightning.loggers import TensorBoardLogger

from separator.tasks.learning.run.logs import PatientTensorBoardLogger


@pytest.mark.parametrize("name", ["log_metrics", "save"])
def test_ctrl_c_is_heard_once_figures_are_written(name, tmp_path, monkeypatch):
    written = []

    def write(self, *given):
        signal.raise_signal(signal.SIGINT)
        written.append(given)

    monkeypatch.setattr(TensorBoardLogger, name, write)
    logger = PatientTensorBoardLogger(str(tmp_path))
    given = ({"loss": 1.0}, 3) if name == "log_metrics" else ()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a suite run in the background may ignore it
    try:
        with pytest.raises(KeyboardInterrupt):
            getattr(logger, name)(*given)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert written == [given]
