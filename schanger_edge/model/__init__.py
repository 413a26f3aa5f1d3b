"""What a model file promises: its card, the bundled ones, the layout for Triton."""
