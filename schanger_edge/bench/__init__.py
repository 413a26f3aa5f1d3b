"""`schanger-edge bench`: which model, precision, tile and batch to fly with on a device, in tables that say their n."""
