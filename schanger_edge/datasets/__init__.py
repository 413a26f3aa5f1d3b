"""Labelled data: layouts, samples, labels; making, splitting and drawing tiles from them."""
