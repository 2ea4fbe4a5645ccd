"""What Interlock costs, measured beside its peers. `python -m bench`; the method is in docs/benchmarks.md."""
