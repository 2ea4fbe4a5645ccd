"""A Messages stream that lacks its first event gets one; what it reports is not taken for more than it is."""

import msgspec
from tests.gateway.wire.streams import run

from interlock.gateway.wire import StreamTap

START = (
    b'event: content_block_start\ndata: {"type":"content_block_start","index":0,"content_block":{"type":"text"}}\n\n'
)
DELTA = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"text":"x"}}\n\n'
ENDED = b'event: message_delta\ndata: {"type":"message_delta","delta":{},"usage":{"output_tokens":8}}\n\n'
STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
PING = b'event: ping\ndata: {"type":"ping"}\n\n'


def test_message_start_is_put_in_and_the_input_is_an_estimate() -> None:
    tap = StreamTap("messages")
    tap.opening = ("msg_1", "small", 40)
    out = tap.feed(PING + START) + tap.feed(DELTA + ENDED + STOP) + tap.finish()
    ping, first, rest = out.partition(b"event: message_start")[0], out.split(b"\n\n")[1], out.partition(START)[2]
    assert (ping, rest) == (PING, DELTA + ENDED + STOP)
    message = msgspec.json.decode(first.split(b"data: ")[1])["message"]
    assert (message["id"], message["model"], message["usage"]["input_tokens"]) == ("msg_1", "small", 40)
    assert (tap.repaired, tap.complete, tap.source, tap.usage) == ("message_start", True, "estimated", {})
    assert tap.estimate() == ({"output": 8}, "reported-output/1")


def test_cut_at_every_position_it_is_repaired_once() -> None:
    stream = START + DELTA + ENDED + STOP
    whole = run("messages", [stream])
    assert all(run("messages", [stream[:at], stream[at:]]) == whole for at in range(len(stream)))


def test_a_stream_that_begins_with_an_error_is_left_alone() -> None:
    error = b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"x"}}\n\n'
    assert run("messages", [error])[0] == error
