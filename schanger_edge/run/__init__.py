"""From two images to a change map."""
