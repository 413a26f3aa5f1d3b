"""Who does the work of a batch."""

from __future__ import annotations

import dataclasses

from schanger_edge.options import Options, option


@dataclasses.dataclass(frozen=True)
class Cluster(Options):
    """Who does the work, and how it is divided.

    The dashboard can be read by every account of this machine. Scenes that are split come one after the other.
    """

    title = "Workers"

    scheduler: str | None = option(
        None, "Dask scheduler, such as tcp://10.0.0.1:8786.", unset="workers on this machine"
    )
    workers: int | None = option(None, "Processes on this machine.", at_least=1, unset="one per GPU, else one per core")
    retries: int = option(2, "Retries for a pair that fails or whose worker dies.", at_least=0)
    dashboard: bool = option(False, "Show this machine's workers at http://127.0.0.1:8787.")
    split: bool = option(False, "Divide each scene over all workers; for few, large scenes.", flag="--divide")
