"""Proof: checkpoints signed beside the work, what verifies against them, bundles for others, views made again.

Its modules are imported by name: cryptography takes longer to import than most commands take.
"""
