"""What machine this is: board, clocks, power, temperatures."""
