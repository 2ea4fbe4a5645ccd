"""Options of `replay`, `withdraw`, `tenants`, `audit`, `prove` and their like; as parser.py has the others'."""

import argparse
from typing import TYPE_CHECKING

from interlock.cli import readers
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


_RATE = """rate usage by a plan, with no server and writing nothing: what each charge comes to, step by step, and
what an invoice over them says. A step shows its rule and its numbers, so that anybody can compute it again. The usage
is JSON ({"tokens": 1200, "seats": {"quantity": 5}}; docs/rating.md has all that a charge can take) or CSV with the
columns charge and quantity, and bucket, meter or event where a charge needs them."""


def rate(commands: "Commands", add: Add) -> None:
    """Usage rated by a plan."""
    parser = add(commands, "rate", "rate usage by a plan, step by step", "rating:run")
    parser.description = _RATE
    parser.add_argument("--plan", metavar="FILE", required=True, help="a plan, in TOML or JSON")
    parser.add_argument("--usage", metavar="FILE", required=True, help="what was used in the period, in JSON or CSV")
    parser.add_argument("--days", metavar="N/M", help="bill N of the period's M days (default: all)")
    parser.add_argument("--interim", action="store_true", help="not the period's last run: no minimum is topped up")
    credit = "prepaid credit that is taken, as far as it is owed (default: 0)"
    parser.add_argument("--credits", metavar="AMOUNT", default="0", help=credit)
    billed = "what earlier invoices of the period billed, taken off what is due (default: 0)"
    parser.add_argument("--already-billed", metavar="AMOUNT", default="0", help=billed)


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


_ENTITLEMENTS = """say of each tenant which plan it is on, which models and features come with that, and how much of
the plan's limits is used. A tenant that never had a plan is not restricted, and not listed."""


def entitlements(commands: "Commands", add: Add) -> None:
    """What plans let tenants use."""
    what = "what tenants' plans let them use, and how much of it is left"
    parser = add(commands, "entitlements", what, "entitlements:show", formats=("table", "json"))
    parser.description = _ENTITLEMENTS
    parser.add_argument("--tenant", metavar="T", help="of this tenant only")


_COSTS = """say who cost what in a window: cost, share of the total, what one request and one session cost, and the
change against the window of the same length before. The rows sum to the total of `interlock usage` for the window, to
the last nano-dollar. What nobody is named for has a row of its own: `-`. A call that carried results of several tools
is divided among them in equal shares."""
_WHEN = "24h, 7d, 2026-11-01 or RFC 3339"


def costs(commands: "Commands", add: Add) -> None:
    """Who pays."""
    parser = add(commands, "costs", "who cost what, against the window before", "costs:costs")
    parser.description = _COSTS
    parser.add_argument("--by", type=readers.by, metavar="COLUMNS", help=f"comma-separated, of {', '.join(readers.BY)}")
    parser.add_argument("--since", metavar="WHEN", help=f"default: 30 days before the end; {_WHEN}")
    parser.add_argument("--until", metavar="WHEN", help=f"exclusive (default: now); {_WHEN}")
    parser.add_argument("--tenant", metavar="T", help="of this tenant only")


_BUDGETS = """say how long each limit and each prepaid balance lasts: the rate of its window so far and that of lately
(the last day of a month or of a balance, the last hour of a day), what will be used when the window ends, and when it
is used up. Where the two rates disagree, or where there are too few data, it says so."""


def budgets(commands: "Commands", add: Add) -> None:
    """How long limits last."""
    parser = add(commands, "budgets", "how long limits on use last at the present rate", "costs:budgets")
    parser.description = _BUDGETS
    parser.add_argument("--tenant", metavar="T", help="of this tenant only")


_ANOMALIES = """list the sessions, tasks and principals that cost far more than the median of their peers (same tenant,
team and, of sessions, mode), the latest first, with the figures that say so. [anomalies] in the configuration says what
counts as far more. They are records of the log, written once each."""


def anomalies(commands: "Commands", add: Add) -> None:
    """Who costs far too much."""
    parser = add(commands, "anomalies", "list who cost far more than their peers", "costs:anomalies")
    parser.description = _ANOMALIES
    parser.add_argument("--kind", choices=("session", "task", "principal"), help="of this kind only")
    parser.add_argument("--since", metavar="WHEN", help=f"found then or later; {_WHEN}")
    parser.add_argument("--until", metavar="WHEN", help=f"exclusive; {_WHEN}")
    parser.add_argument("--tenant", metavar="T", help="of this tenant only")


def tools(group: "Commands", add: Add) -> None:
    """What tool servers describe."""
    listing = add(group, "list", "list every tool that was seen, and whether it is approved", "tools:show_all")
    listing.add_argument("--server", metavar="S", help="of this server only")
    show = add(group, "show", "what is approved of a tool, and what waits", "tools:show", formats=("json",))
    what = "approve a description: it is listed and called from then on"
    approve = add(group, "approve", what, "tools:approve", formats=_PLAIN)
    approve.add_argument("--hash", metavar="HEX", default="", help="which, if more than one waits")
    for parser in (show, approve):
        parser.add_argument("server", metavar="SERVER")
        parser.add_argument("name", metavar="TOOL", help="as the server names it")


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


_PROVE = """answer whether any byte of a tenant's calls left the boundary it was under, from the log on this machine's
disk, since a proof takes no server's word: that of --data, of the server at INTERLOCK_URL, or of the default directory;
each call is judged again by what its deployment had declared, and held against what was observed: the address that
answered and the place that the answer named. The log is verified first. Exit status 1: something left, or the log does
not hold."""
_AUDIT = """list where each call went: who, from which region, to which deployment, what answered, which clause. JSON is
one object a line. It is read from the log on this machine's disk, as by `prove`, and nothing is written for it."""


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


def doctor(commands: "Commands", add: Add) -> None:
    """Which sandboxes can be had."""
    add(commands, "doctor", "which sandboxes this machine can have, and why not more", "doctor:run", formats=_PLAIN)
