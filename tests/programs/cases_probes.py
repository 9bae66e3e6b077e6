"""What programs may see of their sockets, asked by small programs of our own."""
CASES = []
