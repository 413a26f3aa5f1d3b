"""`schanger-edge bench`: accuracy, speed, memory and energy of models on a device; every figure states its n."""
