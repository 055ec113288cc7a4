"""How much of what a discovery source says is believed at once."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from langchain_cluster.model.strict import Seconds, Strict


class StabilityPolicy(Strict):
    """A registry that is in trouble names too few. Who joins is always believed; who leaves, with care.

    Each answer of a source is a sweep. While something is held back, the source is asked anew every
    `sweep` seconds. Endpoints that are being drained leave at once, and so do those a program takes out.

    Args:
        max_shrink: the share of a source's endpoints that may leave in one sweep, at least one; 0-1, 1: all.
        sweep: seconds between sweeps while something is held back.
        confirm_empty: answers in a row that must name nobody before anybody leaves for that; None: never.
        flaps: how often an endpoint may vanish within `flap_window` before its leaving has to be confirmed
            by more and more answers (2, 4, ... 64); None: always believed.
        flap_window: seconds.
        keep: a file in which the last rosters are kept, for a start while the registry is away; None: none.
        patience: seconds a first call waits for a registry before it makes do with the roster in that file.
    """

    max_shrink: float = Field(0.15, gt=0, le=1, strict=True)
    sweep: Seconds = 1.0
    confirm_empty: int | None = Field(3, ge=1, strict=True)
    flaps: int | None = Field(3, ge=1, strict=True)
    flap_window: Seconds = 60.0
    keep: Path | None = None
    patience: Seconds = 2.0
