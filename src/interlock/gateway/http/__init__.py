"""HTTP/1.1 on both sides of the gateway: bytes to requests, answers to bytes, pooled connections onward."""

from interlock.gateway.http.client import Failure, Pool, Sink, Ticket
from interlock.gateway.http.dial import dialler
from interlock.gateway.http.reader import Body, Head, RequestReader
from interlock.gateway.http.server import Handler, Running, ServerConnection

__all__ = [
    "Body",
    "Failure",
    "Handler",
    "Head",
    "Pool",
    "RequestReader",
    "Running",
    "ServerConnection",
    "Sink",
    "Ticket",
    "dialler",
]
