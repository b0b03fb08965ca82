"""Figures over time: what a run looked like while it went on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(slots=True, frozen=True)
class Panel:
    """Curves over the same time.

    Attributes:
        unit: What the upright axis shows.
        curves: A name and a value for each moment; None where it is not known.
        bound: A value that is not to be passed, or None.
    """

    unit: str
    curves: Mapping[str, Sequence[float | None]]
    bound: float | None = None


@dataclass(slots=True, frozen=True)
class Curves:
    """Panels above each other, and what happened meanwhile.

    Attributes:
        seconds: The moments.
        panels: From the top.
        events: Names with their moments, drawn through all panels.
    """

    seconds: Sequence[float]
    panels: Sequence[Panel]
    events: Mapping[str, float] = field(default_factory=dict)

    def draw(self, path: Path, title: str) -> None:
        """Draw it into an SVG file."""
        # Large, optional, and not to be in memory while processes are measured.
        import matplotlib as mpl  # noqa: PLC0415 - only with --plot

        mpl.use("svg")
        mpl.rcParams["svg.fonttype"] = "none"  # text stays text
        from matplotlib import pyplot as plt  # noqa: PLC0415 - only with --plot

        figure, axes = plt.subplots(
            len(self.panels),
            1,
            figsize=(9.0, 0.8 + 2.2 * len(self.panels)),
            sharex=True,
            squeeze=False,
            layout="constrained",
        )
        for axis, panel in zip(axes.flat, self.panels, strict=True):
            for name, values in panel.curves.items():
                known = [float("nan") if value is None else value for value in values]
                axis.plot(self.seconds, known, label=name, linewidth=1.2)
            if panel.bound is not None:
                axis.axhline(panel.bound, color="0.4", linestyle="--", linewidth=0.8)
            for at in self.events.values():
                axis.axvline(at, color="0.6", linestyle=":", linewidth=1.0)
            axis.set_ylabel(panel.unit)
            axis.set_ylim(bottom=0)
            axis.legend(loc="lower right", fontsize=8)
        for name, at in self.events.items():
            axes.flat[0].annotate(
                name, (at, 1.02), xycoords=("data", "axes fraction"), fontsize=8, rotation=20
            )
        axes.flat[-1].set_xlabel("seconds")
        figure.suptitle(title)
        figure.savefig(path)
        plt.close(figure)
