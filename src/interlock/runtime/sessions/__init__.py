"""Sessions: an agent's append-only log, what it says, and who may act for it. Stores are imported by their modules."""
