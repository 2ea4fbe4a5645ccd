"""The runtime's process: sessions over HTTP on a Unix socket, and the host of their brains.

Only the control process speaks to the socket (`control.relay`): it knows keys, and says in one header who asks.
"""
