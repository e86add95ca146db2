"""The epochs of a run as they finish, for other programs: a CSV file, or TensorBoard where it is installed."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path

from solvers.whole_file import write_whole
from vispa.training.loop import Epoch

Log = Callable[[Sequence[Epoch]], None]


class CsvLog:
    """One line an epoch, under the names of `Epoch`; a run that goes on goes on in the same file.

    Parameters
    ----------
    path : path
        Its folder must exist.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)

    def __call__(self, history: Sequence[Epoch]) -> None:
        """Write the file anew, so that it never holds an epoch that a resumed run did not have."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(Epoch._fields)
        writer.writerows(history)
        write_whole(self._path, buffer.getvalue().encode())


class TensorBoardLog:
    """A log of the numbers of every epoch as scalars.

    Parameters
    ----------
    folder : path
        Of this run; made if missing.

    Raises
    ------
    ImportError
        If TensorBoard is not installed.
    """

    def __init__(self, folder: str | Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ImportError("this log needs TensorBoard; install tensorboard, or log as csv") from error
        self._writer = SummaryWriter(str(folder))
        self._written = 0

    def __call__(self, history: Sequence[Epoch]) -> None:
        """Add what is new; on the first call of a resumed run that is everything so far."""
        for epoch in history[self._written :]:
            for name, value in epoch._asdict().items():
                if name != "epoch":
                    self._writer.add_scalar(name, value, epoch.epoch)
        self._written = len(history)
        self._writer.flush()


def open_log(kind: str, folder: Path, name: str) -> Log:
    """Return the log of one run, in ``folder``, which is made if missing.

    Raises
    ------
    ValueError
        If ``kind`` is neither ``"csv"`` nor ``"tensorboard"``, or ``folder`` is a file.
    ImportError
        If TensorBoard is asked for and not installed.
    """
    from solvers import checks

    checks.choice("log_format", kind, ("csv", "tensorboard"))
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"log_folder must be a folder; {folder} is a file")
    folder.mkdir(parents=True, exist_ok=True)
    return CsvLog(folder / f"{name}.csv") if kind == "csv" else TensorBoardLog(folder / name)
