"""Many pairs over Dask, on this machine or on a cluster: `schanger-edge batch`; its options need no Dask."""
