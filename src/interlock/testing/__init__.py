"""Fakes, faults and contract suites: public, so that others can test an adapter of theirs."""
