"""Translation between the three wire formats: requests one way, answers the other. No I/O."""
