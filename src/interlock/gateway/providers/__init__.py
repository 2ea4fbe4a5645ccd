"""Providers that want more than a key and a format: their paths, framings and credentials."""
