"""The offset between the dates of a pair: measured, judged, taken away."""
