"""TensorRT and TensorRT-RTX: plans are built, kept and run."""
