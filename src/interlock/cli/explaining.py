"""`interlock explain` for people: one request as a story, from who asked to where in the log each part stands. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from interlock.cli.output import Column, money, number, table
from interlock.instants import rfc3339
from interlock.units import usd

_NS_A_MS = 1_000_000


def lines(found: Mapping[str, Any]) -> list[str]:
    """The API's answer as lines of text."""
    told = [f"request {found['request_id']}"]
    for record in found["refused"]:
        told += ["", *_refused(record)]
    for attempt in found["attempts"]:
        told += ["", *_attempt(attempt)]
    if len(found["attempts"]) > 1:
        told += ["", f"cost of all attempts  {_cost(found['amount_nanousd'])}"]
    records = [*found["refused"], *(record for attempt in found["attempts"] for record in attempt["records"])]
    return [*told, "", "in the log", *_indented(_evidence(records))]


def _refused(record: Mapping[str, Any]) -> list[str]:
    event = record["payload"]
    return [
        f"refused: {event['code']}",
        *_indented([event["message"], f"at       {rfc3339(int(record['at_ns']))}", *_who(event), _asked(event)]),
        *_decision(event.get("decision")),
    ]


def _attempt(attempt: Mapping[str, Any]) -> list[str]:
    events = {
        record["type"]: record["payload"] for record in reversed(attempt["records"])
    }  # the first of a type stands
    opened, settled, entry = events.get("usage.opened"), events.get("usage.settled"), attempt["entry"]
    if entry is not None and entry["state"] == "adjusting":
        return _adjusting(attempt)
    title = f"attempt {attempt['attempt']}: {settled['outcome'] if settled else 'open'}"
    if opened is None or entry is None:
        return [title, "  its opening has not been seen: nothing is counted"]
    told = [
        f"at       {rfc3339(int(attempt['opened_at_ns']))}",
        *_who(opened),
        f"{_asked(opened)}, {'streamed' if opened['stream'] else 'whole'}",
        _source(opened),
    ]
    return [
        title,
        *_indented([*told, *(_settled(settled, entry["source"]) if settled else [])]),
        *_decision(opened.get("decision")),
        *(_amount(entry) if settled else []),
        *_adjustments(attempt),
    ]


def _adjusting(attempt: Mapping[str, Any]) -> list[str]:
    """What a provider's bill says beyond or below what was metered: an entry, and no call."""
    entry = attempt["entry"]
    usage = ", ".join(f"{count} {kind}" for kind, count in entry["usage"].items()) or "no quantity"
    told = [
        f"of       {rfc3339(int(attempt['opened_at_ns']))}, {entry['model'] or 'no model'}",
        f"for      {entry['tenant']}, {entry['deployment'] or 'no deployment'} ({entry['provider']})",
        f"whose    {_whose(entry)}",
        f"figures  {usage}",
        f"cost     {_cost(entry['amount']['amount_nanousd'], entry['amount']['unpriced'])}",
    ]
    return ["adjustment by a provider's bill", *_indented(told), *_adjustments(attempt)]


def _whose(entry: Mapping[str, Any]) -> str:
    return (
        ", ".join(f"{name} {entry[name]}" for name in ("team", "principal", "session") if entry.get(name)) or "nobody's"
    )


def _adjustments(attempt: Mapping[str, Any]) -> list[str]:
    """By which statements, and what stood before."""
    records = [record for record in attempt["records"] if record["type"] == "usage.adjusted"]
    if not records:
        return []
    metered, told = attempt.get("metered"), []
    if metered:
        usage = ", ".join(f"{line['quantity']} {line['kind']}" for line in metered["lines"]) or "nothing"
        told.append(f"metered  {usage}, {_cost(metered['amount_nanousd'], metered['unpriced'])}")
    for record in records:
        change = record["payload"]
        stands = "" if record["standing"] == "stands" else f" ({record['standing']})"
        told.append(f"{rfc3339(int(record['at_ns']))}  {change['reason']}, row {change['row']}{stands}")
        told.append(f"  statement {change['statement']}")
    return ["  adjustments", *_indented(told, 4)]


_IN_WHO = ("session", "conversation")
"""Signals that stand in a line of their own."""


def _source(opened: Mapping[str, Any]) -> str:
    place = f"{opened['deployment']} ({opened['provider']}, {opened['model']})"
    again = opened.get("answer_of")
    return f"not sent the answer of {again} was given again, from {place}" if again else f"sent to  {place}"


def _who(event: Mapping[str, Any]) -> list[str]:
    session = f", session {event['session']}" if event.get("session") else ""
    mode = f", mode {event['mode']}" if event.get("mode") else ""
    return [f"who      {event['principal']} of {event['tenant']} ({event['key_id']}){session}{mode}"]


def _asked(event: Mapping[str, Any]) -> str:
    return f"asked    {event['model_requested']!r} by {event['format']}"


def _settled(settled: Mapping[str, Any], source: str) -> list[str]:
    first, total = (settled.get(name, 0) / _NS_A_MS for name in ("first_byte_ns", "duration_ns"))
    words = [f"status {settled['http_status']}"] if settled.get("http_status") else []
    words += [f"{name.replace('_', ' ')} {settled[name]}" for name in ("finish_reason", "error") if settled.get(name)]
    words += [f"first byte {first:.1f} ms", f"whole {total:.1f} ms"]
    told = [f"came     {', '.join(words)}"]
    upstream = [
        settled[name]
        for name in ("upstream_model", "upstream_id", "upstream_peer", "upstream_region")
        if settled.get(name)
    ]
    if upstream:
        told.append(f"from     {', '.join(upstream)}")
    rule = f" by {settled['rule']}" if settled.get("rule") else ""
    billed = "billed; metered: " if source == "billed" else ""
    told.append(f"figures  {billed}{settled['source']}{rule}")
    if avoided := settled.get("avoided"):
        told.append(f"avoided  {', '.join(f'{count} {kind}' for kind, count in avoided.items())}")
    return told


def _decision(decision: Mapping[str, Any] | None) -> list[str]:
    """The recorded gateway.routing.Decision; fields at their defaults are not in it."""
    if not decision:
        return []
    known = {name: value for name, value in decision.get("signals", {}).items() if value and name not in _IN_WHO}
    signals = ", ".join(f"{name} {_plain(value)}" for name, value in known.items())
    tier = f", so tier {decision['tier']}" if decision.get("tier") else ""
    told = [f"signals  {signals or 'none'}", f"rule     {decision.get('rule') or '-'}{tier}"]
    for name in ("unknown", "boundary", "splices"):
        if decision.get(name):
            told.append(f"{name.ljust(8)} {', '.join(map(str, decision[name]))}")
    if decision.get("affinity"):
        told.append(f"affinity {_affinity(decision['affinity'])}")
    rows = [
        [
            str(one.get("rank") or "-"),
            one["deployment"],
            one.get("refused")
            or one.get("resting")
            or ("chosen" if one["deployment"] == decision.get("winner") else ""),
        ]
        for one in decision.get("candidates", [])
    ]
    told += [
        f"policy   {decision.get('policy', '-')}",
        *table([Column("rank", True), Column("candidate"), Column("")], rows),
    ]
    return ["  decision", *_indented(told, 4)]


def _affinity(affinity: Mapping[str, Any]) -> str:
    """The recorded gateway.affinity.Affinity."""
    held, over, verdict = affinity["held_by"], affinity.get("over", ""), affinity["verdict"]
    where = f"kept at {held}, not {over}" if verdict == "kept" else f"from {held} to {over}: {verdict}"
    if "cached_tokens" not in affinity:
        return where
    stay, switch = (_cost(affinity.get(name)) for name in ("stay_nanousd", "switch_nanousd"))
    calls = affinity.get("calls", 1)
    over_calls = f" over {calls} calls" if calls > 1 else ""
    return f"{where} (staying {stay}, going {switch}{over_calls}; {number(affinity['cached_tokens'])} tokens cached)"


def _amount(entry: Mapping[str, Any]) -> list[str]:
    amount = entry["amount"]
    rows = [[line["kind"], number(line["quantity"]), _price(line), _share(line)] for line in amount["lines"]]
    columns = [Column("kind"), Column("tokens", True), Column("usd per mtok", True), Column("usd", True)]
    total = [f"cost     {_cost(amount['amount_nanousd'], amount['unpriced'])}"]
    if amount.get("price_source"):
        source = amount["price_source"]
        total.append(f"prices   {'the configuration' if source == 'override' else source}")
    if entry["inconsistent"]:
        total.append("the figures contradict each other")
    return ["  tokens", *_indented([*table(columns, rows), *total], 4)]


def _price(line: Mapping[str, Any]) -> str:
    price = line["price_nanousd_per_mtok"]
    if price is None:
        return "no price"
    own = line["priced_as"] == line["kind"]
    return usd(int(price)) + ("" if own else f" ({line['priced_as']})")


def _share(line: Mapping[str, Any]) -> str:
    """Exact: a numerator counts 1e-15 USD (nano-USD by a millionth)."""
    if line["numerator"] is None:
        return "-"
    whole, part = divmod(int(line["numerator"]), 10**15)
    return f"{whole}.{f'{part:015d}'.rstrip('0').ljust(2, '0')}"


def _cost(nanousd: object, unpriced: str = "") -> str:
    return money(nanousd) + (f" ({unpriced.replace('_', ' ')})" if unpriced else "")


def _evidence(records: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = [
        [record["stream"], str(record["seq"]), record["type"], rfc3339(int(record["at_ns"])), record["standing"]]
        for record in records
    ]
    return table([Column("stream"), Column("seq", True), Column("type"), Column("at"), Column("standing")], rows)


def _plain(value: object) -> str:
    if isinstance(value, Mapping):
        return " ".join(f"{name}={item}" for name, item in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _indented(told: Sequence[str], by: int = 2) -> list[str]:
    return [f"{' ' * by}{line}".rstrip() for line in told]
