"""What `run.py` is made of: machine, peers, processes, results, the suites, and the report."""
