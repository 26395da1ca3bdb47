"""What a pruning run adds to the logs: how dense the model is, and how far along the schedule."""

from __future__ import annotations

from dataclasses import dataclass

from ..model.structure import known_structure, part_of
from ..sizes import pruning_report
from .selection import Selection

__all__ = ["RunSizes"]


@dataclass(frozen=True)
class RunSizes:
    """Numbers of weights that densities refer to.

    Attributes:
        targeted: Weights that may be pruned.
        encoder: Weights of the encoder, and what else is targeted.
        total: All parameters but the scores.
    """

    targeted: int
    encoder: int
    total: int

    @classmethod
    def of(cls, selection: Selection) -> RunSizes:
        """Those of a prepared model."""
        model = selection.model
        report = pruning_report(model)
        targets = {f"{name}.weight": model.get_parameter(f"{name}.weight").numel() for name in selection.matrices}
        structure = known_structure(model)
        outside = sum(size for name, size in targets.items() if part_of(name, structure) != "encoder")
        return cls(sum(targets.values()), report.encoder.numel + outside, report.total.numel)

    def densities(self, kept: int, prefix: str = "") -> dict[str, float]:
        """Densities for a log, where ``kept`` of the targeted weights are left."""
        pruned = self.targeted - kept
        return {
            f"{prefix}density_encoder": (self.encoder - pruned) / self.encoder,
            f"{prefix}density_total": (self.total - pruned) / self.total,
        }
