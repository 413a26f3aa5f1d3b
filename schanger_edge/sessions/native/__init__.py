"""The engine of our own for the CPU: `native/src` is its library, and here are what loads and feeds it."""
