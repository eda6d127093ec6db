"""What the commands share: machine, peers, processes, results, the shape of a suite, tables."""
