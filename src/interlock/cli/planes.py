"""Options of `replay`, `withdraw`, `tenants`, `audit`, `prove` and their like; as parser.py has the others'."""

import argparse
from typing import TYPE_CHECKING

from interlock.cli.parsing import Add

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

KINDS = ("provider", "deployment", "model", "region", "agreement")


_REPLAY = """decide past calls again under another policy or other prices, and say what would have been different: which
calls would have gone elsewhere, and what the same tokens cost there, exactly, by rule. The calls are those of a data
directory's log (a server may run on it), or the rows of a CSV file of token counts. `caches` is what prompt caches
change: positive where conversations would have lost theirs. Nothing is written, and no policy is adopted."""


def replay(commands: "Commands", add: Add) -> None:
    """Past calls, decided again."""
    parser = add(commands, "replay", "decide past calls again under another policy", "replay:run")
    parser.description = _REPLAY
    parser.add_argument("--policy", metavar="FILE", required=True, help="an interlock.toml")
    for name, meaning in (("since", "of calls opened from then on"), ("until", "exclusive")):
        parser.add_argument(f"--{name}", metavar="WHEN", help=f"{meaning}; a day, a time, or 24h, 30d before now")
    parser.add_argument("--tenant", metavar="T", help="of this tenant only")
    parser.add_argument("--csv", metavar="FILE", help="calls from a file, one a row, instead of the log")
    parser.add_argument(
        "--against", metavar="FILE", help="with --csv: another policy (default: the policy's savings.baseline)"
    )
    guesses = {"input": "ContextTokens", "output": "GeneratedTokens", "mode": "mode", "model": "model"}
    for name, guess in guesses.items():
        parser.add_argument(
            f"--{name}-column", metavar="NAME", default="", help=f"of --csv: header of the {name} (such as {guess})"
        )


_WITHDRAW = """have nothing sent any more to a provider, deployment, model (or pattern of models), region (country,
area) or under an agreement. When the command returns, no worker of this machine begins to send to it; calls that run
go on with what remains, or end with the reason. It stands whatever configuration is loaded, until `reinstate`."""
_PLAIN = ("table", "json")


def withdrawals(commands: "Commands", add: Add) -> None:
    """What nothing is sent to any more."""
    withdraw = add(commands, "withdraw", "have nothing sent to it any more", "withdrawals:withdraw", formats=_PLAIN)
    withdraw.description = _WITHDRAW
    reinstate = add(commands, "reinstate", "take a withdrawal back", "withdrawals:reinstate", formats=_PLAIN)
    for parser in (withdraw, reinstate):
        parser.add_argument("kind", choices=KINDS)
        parser.add_argument("name", metavar="NAME")
    told = "calls that it ends are told; it stays in the log"
    withdraw.add_argument("--reason", metavar="TEXT", required=True, help=told)
    reinstate.add_argument("--reason", metavar="TEXT", default="", help="it stays in the log")
    add(commands, "withdrawals", "list what is withdrawn, and which deployments that concerns", "withdrawals:show")


def quotas(commands: "Commands", add: Add) -> None:
    """How full limits are."""
    parser = add(commands, "quotas", "where limits on use stand now, the fullest first", "quotas:show")
    parser.add_argument("--tenant", metavar="T", help="of this tenant only")


def tenants(group: "Commands", add: Add) -> None:
    """Who there is, and what they have accepted."""
    create = add(group, "create", "create a tenant", "tenants:create", formats=_PLAIN)
    create.add_argument("name", metavar="NAME")
    create.add_argument("--boundary", metavar="B", default="", help="a profile of the policy, for all its keys")
    add(group, "list", "list all tenants, their boundaries and agreements", "tenants:show")
    what = "a tenant accepts terms: calls may go where they are asked for"
    accept = add(group, "accept", what, "tenants:accept", formats=_PLAIN)
    accept.add_argument("--by", metavar="WHO", default="", help="who accepted, by opaque id")
    what = "a tenant does not accept them any more: nothing is sent under them once this returns"
    leave = add(group, "leave", what, "tenants:leave", formats=_PLAIN)
    leave.add_argument("--reason", metavar="TEXT", default="", help="it stays in the log")
    for parser in (accept, leave):
        parser.add_argument("name", metavar="TENANT")
        parser.add_argument("agreement", metavar="AGREEMENT")


_PROVE = """answer whether any byte of a tenant's calls left the boundary it was under, from the log of this machine:
each call is judged again by what its deployment had declared, and held against what was observed: the address that
answered and the place that the answer named. The log is verified first. Exit status 1: something left, or the log does
not hold."""
_AUDIT = """list where each call went: who, from which region, to which deployment, what answered, which clause. JSON is
one object a line. It is read from the log of this machine, and nothing is written for it."""


def audit(commands: "Commands", add: Add) -> None:
    """Where calls went."""
    trail = add(commands, "audit", "list where each call went, and by which clause", "audit:audit", formats=_PLAIN)
    trail.description = _AUDIT
    prove = add(commands, "prove", "did any byte leave the boundary?", "audit:prove", formats=_PLAIN)
    prove.description = _PROVE
    for parser in (trail, prove):
        parser.add_argument("--tenant", metavar="T", help="of this tenant only")
        parser.add_argument("--since", metavar="WHEN", help="of calls opened from then on; a day, a time, or 24h, 30d")
        parser.add_argument("--until", metavar="WHEN", help="exclusive")
