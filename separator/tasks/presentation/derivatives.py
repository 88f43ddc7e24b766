"""What stands for the derivative of a spike, drawn from what learning takes (Rathi et al. 2020, Fig. 1 and 4)."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from separator.ranges import MOST, check_numbers
from separator.snn.layers.dynamics import MOST_STEPS
from separator.snn.learning.stdb.options import Derivative, StdbOptions, by_potential, time_table
from separator.tasks.pictures import write_picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

POINTS = 200  # of a curve, on either side of the threshold


@dataclass(frozen=True)
class Drawn:
    """What is drawn of the derivatives; alpha and beta are those of `StdbOptions`.

    Raises:
        UserError: a number is out of its range.
    """

    alpha: float = 0.3
    beta: float = 0.01
    steps: int = 100  # of the run
    reach: float = 2.0  # distance from the threshold that is drawn, in spikes times weights as the potential

    def __post_init__(self) -> None:
        check_numbers(self, steps=(1, MOST_STEPS), reach=(0.0, MOST))
        _ = self.options("stdb")  # refuses alpha and beta

    def options(self, derivative: Derivative) -> StdbOptions:
        """Options of learning by one of the derivatives."""
        return StdbOptions(derivative, self.alpha, self.beta)


def plot_derivatives(drawn: Drawn, picture: Path) -> None:
    """Write `derivatives_figure` to a file, whose suffix chooses the format.

    Raises:
        UserError: the file cannot be written.
    """
    write_picture(picture, derivatives_figure(drawn))


def derivatives_figure(drawn: Drawn) -> "Figure":
    """Derivatives by the time since a neuron's last spike (Eq. 11) beside those by its potential (Eq. 13 and 14)."""
    # Importing pyplot would choose a screen; a figure by itself draws to files on any machine.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    by_time, by_distance = figure.subplots(1, 2, sharey=True)
    *table, _ = time_table(
        drawn.options("stdb"), drawn.steps, torch.zeros(1, dtype=torch.float64)
    ).tolist()  # all but "no spike yet"
    by_time.plot(range(drawn.steps), table, ".-", color="C0", label="stdb")
    by_time.set(xlabel="time steps since the last spike, Δt", ylabel="derivative of a spike, ∂o/∂u", title="Eq. 11")
    distance = torch.arange(-POINTS, POINTS + 1, dtype=torch.float64) * (drawn.reach / POINTS)
    names: tuple[Derivative, ...] = ("linear", "exponential")
    for number, name in enumerate(names, 1):
        curve = by_potential(drawn.options(name), distance, distance.new_zeros(1))
        by_distance.plot(distance.tolist(), curve.tolist(), color=f"C{number}", label=name)
    by_distance.set(xlabel="potential less threshold, u - V", title="Eq. 13 and 14")
    for axes in (by_time, by_distance):
        axes.set_ylim(bottom=0)
        axes.legend(fontsize="small")
        axes.grid(alpha=0.3)
    figure.suptitle(f"α = {drawn.alpha:g}, β = {drawn.beta:g}", fontsize="medium")
    return figure
