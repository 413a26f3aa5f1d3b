"""Many pairs over Dask, on this machine or on a cluster: `schanger-edge batch`."""

from schanger_edge.batch.cluster import Cluster
from schanger_edge.batch.outcome import Outcome
from schanger_edge.batch.results import Batch
from schanger_edge.batch.service import batch

__all__ = ["Batch", "Cluster", "Outcome", "batch"]
