"""The brain: a stateless loop that reads a session's log, decides the next step, acts and writes down what happened."""
