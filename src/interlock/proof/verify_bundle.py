"""Verify a bundle of Interlock with nothing but Python: `python verify.py [DIRECTORY] [--key HEX] [--checkpoint FILE]`.

--key: the public key as you know it from elsewhere. --checkpoint: one that you kept. Exit status 1: something is wrong.
It needs Python 3.9 or later and its standard library alone. It is short so that you can read it before you believe it.
"""

import argparse
import json
import sys
from base64 import b64decode
from datetime import datetime, timedelta
from hashlib import blake2b, sha256, sha512
from pathlib import Path
from typing import Any

P, L = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
D, ROOT = -121665 * pow(121666, -1, P) % P, pow(2, (P - 1) // 4, P)
Point = tuple[int, int, int, int]
read_json = json.loads  # noqa: TID251 - it stands alone


def add(p: Point, q: Point) -> Point:
    """Of two points of Ed25519: RFC 8032, 5.1.4."""
    a, b = (p[1] - p[0]) * (q[1] - q[0]), (p[1] + p[0]) * (q[1] + q[0])
    c, d = 2 * p[3] * q[3] * D, 2 * p[2] * q[2]
    return (b - a) * (d - c) % P, (d + c) * (b + a) % P, (d - c) * (d + c) % P, (b - a) * (b + a) % P


def times(number: int, p: Point) -> Point:
    """By doubling and adding."""
    result: Point = (0, 1, 1, 0)
    while number:
        result, p, number = add(result, p) if number & 1 else result, add(p, p), number >> 1
    return result


def point(data: bytes) -> Point:
    """RFC 8032, 5.1.3."""
    sign, y = divmod(int.from_bytes(data, "little"), 1 << 255)
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    x = x if (x * x - square) % P == 0 else x * ROOT % P
    if len(data) != 32 or y >= P or (x * x - square) % P or (x == 0 and sign):
        raise ValueError("no point of the curve")
    x = x if x & 1 == sign else P - x
    return x, y, 1, x * y % P


BASE = point((4 * pow(5, -1, P) % P).to_bytes(32, "little"))


def is_signed(key: bytes, message: bytes, signature: bytes) -> bool:
    """RFC 8032, 5.1.7."""
    try:
        a, r, s = point(key), point(signature[:32]), int.from_bytes(signature[32:], "little")
    except ValueError:
        return False
    h = int.from_bytes(sha512(signature[:32] + key + message).digest(), "little") % L
    left, right = times(s, BASE), add(r, times(h, a))
    return len(signature) == 64 and s < L and not any((left[i] * right[2] - right[i] * left[2]) % P for i in (0, 1))


def check(good: bool, what: str) -> None:
    """Raises: ValueError: `what`, if it is not good."""
    if not good:
        raise ValueError(what)


def canonical(value: Any) -> bytes:
    """The one spelling that is signed."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def check_checkpoints(lines: list[bytes], key: str) -> list[Any]:
    """Their statements. Each names the one before by hash, so the last one's signature is over all of them."""
    check(bool(lines), "there is no checkpoint")
    name, before, statements = "", "", []
    for line in lines:
        document = read_json(line)
        statement = document["statement"]
        check(before in ("", statement["previous"]), f"{name} was changed, or what followed it was removed")
        name, before = f"checkpoint {statement['number']}", sha256(line).hexdigest()
        check(canonical(document) == line, f"{name} was changed: it is not spelled as it was signed")
        check(statement["public_key"] == key, f"{name} is by another key: {statement['public_key']}")
        statements.append(statement)
    good = is_signed(bytes.fromhex(key), canonical(statement), bytes.fromhex(document["signature"]))
    check(good, f"{name} was changed, or signed by another key than {key}")
    return statements


def check_heads(lines: list[bytes], first: int, chain: bytes, attested: dict[int, str], end: int) -> dict[int, Any]:
    """All heads by number: their chain is what checkpoints attest, wherever they do."""
    heads, since = {}, first
    check(
        attested.get(first - 1, chain.hex()) == chain.hex(), f"the chain before record {first} is not what was signed"
    )
    for seq, line in enumerate(lines, first):
        chain, heads[seq] = sha256(chain + line).digest(), read_json(line)
        found = heads[seq]["seq"]
        check(found == seq, f"record {found} stands where {seq} belongs: records were removed or reordered")
        if seq in attested:
            check(attested[seq] == chain.hex(), f"records {since} to {seq}: the head of one was changed")
            since = seq + 1
    last = first + len(lines) - 1
    check(last == end, f"records end at {last}, and the newest checkpoint attests {end}: records were cut off or added")
    return heads


def check_payloads(lines: list[bytes], manifest: Any, heads: dict[int, Any]) -> tuple[dict[str, Any], list[str]]:
    """By type how many records there are and how many events of the period are in them; and what that leaves open."""
    tenant, before, keys = manifest["tenant"], 0, set()
    counts: dict[str, Any] = {}
    replaced, told, erased = dict[int, str](), dict[int, str](), 0
    for line in lines:
        number, _, text = line.partition(b"\t")
        seq, head, payload = int(number), heads[int(number)], read_json(text)
        if sha256(text).hexdigest() != head["payload_sha256"]:
            replaced[seq] = sha256(text).hexdigest()
        check(payload["tenant"] == tenant and seq > before, f"record {seq} stands twice, or is another tenant's")
        before = seq
        if head["type"] == "journal.redacted":  # it tells which payloads an erasure put in the place of others
            check(seq not in replaced, f"record {seq}: its payload was changed")
            told.update(payload["records"])
            continue
        count = counts.setdefault(head["type"], {"records": 0, "events": 0})
        count["records"] += 1
        written = (datetime(1970, 1, 1) + timedelta(microseconds=int(head["at_ns"]) // 1000)).isoformat()
        written_keys = b64decode(payload.get("keys", ""))
        for place, event in enumerate(payload["events"]):
            count["events"] += manifest["since"][:19] <= (event.get("time") or written)[:19] < manifest["until"][:19]
            if head["type"] == "events.corrected" and place == 0:  # it is taken back
                check(written_keys[:16] not in keys, f"record {seq}: event {event['id']!r} is taken back twice")
                keys.add(written_keys[:16])
            elif head["type"] in ("events.counted", "events.corrected"):
                columns = f"{len(tenant)},{len(event['source'])}:{tenant}{event['source']}{event['id']}"
                key = written_keys[16 * place :][:16]
                good = "erased" in event or key == blake2b(columns.encode(), digest_size=16).digest()
                what = f"record {seq}: event {event['id']!r} of {event['source']!r} is counted twice"
                check(good and key not in keys, what)
                keys.add(key)
            erased += "erased" in event
    for seq, digest in replaced.items():
        check(told.get(seq) == digest, f"record {seq}: its payload was changed")
    check(counts == manifest["counts"], f"the payloads hold {counts}, and the manifest says {manifest['counts']}")
    return counts, [] if not erased else [f"not proved: what {erased} events said whose customers were erased since"]


def verify(root: Path, key: str, kept: str) -> list[str]:
    """What is proved and what is not, in words. Raises: ValueError: what is wrong."""
    manifest = read_json((root / "manifest.json").read_bytes())
    signer, stream, first = manifest["public_key"], manifest["stream"], manifest["first"]
    check(manifest["format"] == "interlock-bundle/1", "this is no bundle of format 1")
    check(key in ("", signer), f"the bundle is signed by another key: {signer}")
    lines = {name: (root / name).read_bytes().split(b"\n")[:-1] for name in ("checkpoints", "heads", "payloads")}
    statements = check_checkpoints(lines["checkpoints"], signer)
    end = statements[-1]["streams"][stream]["seq"]
    mine = check_checkpoints([Path(kept).read_bytes().strip()], signer) if kept else []
    tips = [one["streams"][stream] for one in mine + statements if stream in one["streams"]]
    attested: dict[int, str] = {}
    for tip in tips:
        check(attested.setdefault(tip["seq"], tip["chain"]) == tip["chain"], "two checkpoints contradict each other")
    counts, more = check_payloads(
        lines["payloads"],
        manifest,
        check_heads(lines["heads"], first, bytes.fromhex(manifest["chain_before"]), attested, end),
    )
    useful = bool(mine) and first - 1 <= mine[0]["streams"].get(stream, {"seq": 0})["seq"] <= end
    signed_at = datetime(1970, 1, 1) + timedelta(microseconds=int(statements[-1]["at_ns"]) // 1000)
    return [
        f"proved: records {first} to {end} of {stream} stand as they were signed at {signed_at.isoformat()}Z",
        f"proved: checkpoints {statements[0]['number']} to {statements[-1]['number']} are linked, signed by {signer}",
        f"proved: each event of {manifest['tenant']} is as it was written, and none is counted twice",
        *(f"  {kind}: {one['events']} from {manifest['since']} to {manifest['until']}" for kind, one in counts.items()),
        *(["proved: the checkpoint that you kept is of this same history"] if useful else []),
        *([] if key else ["not proved: whose key that is (compare it with the one you know: --key)"]),
        *([] if useful else ["not proved: that no other history was signed (keep a checkpoint: --checkpoint)"]),
        *more,
        "not proved: that no record was held back (each answer that counted an event named its record)",
        f"not proved: anything after record {end}",
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", nargs="?", default=Path(__file__).parent, type=Path)
    parser.add_argument("--key", default="")
    parser.add_argument("--checkpoint", default="")
    options = parser.parse_args()
    try:
        print(*verify(options.directory, options.key.lower(), options.checkpoint), sep="\n")
    except (OSError, ValueError) as error:
        sys.exit(f"NOT PROVED: {error}")
    except (LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        sys.exit(f"NOT PROVED: the bundle is damaged: {error!r}")
