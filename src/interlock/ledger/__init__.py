"""The ledger: usage events to priced entries, and the questions asked of them."""

from interlock.ledger.anomaly import HOUR_NS, Found, Spend, Watch, Watching
from interlock.ledger.anomaly import KINDS as KINDS_OF_ANOMALY
from interlock.ledger.attempts import SessionAttempt
from interlock.ledger.billable import MEASURES, Billable, Question
from interlock.ledger.book import Amount, Entry, Line, amount, consistent, entry, partition, price, rates
from interlock.ledger.costs import CostRow, Statement
from interlock.ledger.event import NULL, REQUESTS, Adjusted, Format, Opened, Outcome, Refused, Settled, Source
from interlock.ledger.explain import Evidence, ExplainedAttempt, Explanation
from interlock.ledger.metered import Metered, shares
from interlock.ledger.past import Past, Spent
from interlock.ledger.pricing import KINDS, PARENTS, Price, Step
from interlock.ledger.recovery import attempt_key, lost, lost_record, open_attempts, track
from interlock.ledger.report import DIMENSIONS, Counts, UsageRow, to_api
from interlock.ledger.savings import Baseline, Compared, Savings, TierSavings
from interlock.ledger.store import copy_view, delete_view
from interlock.ledger.view import Ledger, Readable

__all__ = [
    "DIMENSIONS",
    "HOUR_NS",
    "KINDS",
    "KINDS_OF_ANOMALY",
    "MEASURES",
    "NULL",
    "PARENTS",
    "REQUESTS",
    "Adjusted",
    "Amount",
    "Baseline",
    "Billable",
    "Compared",
    "CostRow",
    "Counts",
    "Entry",
    "Evidence",
    "ExplainedAttempt",
    "Explanation",
    "Format",
    "Found",
    "Ledger",
    "Line",
    "Metered",
    "Opened",
    "Outcome",
    "Past",
    "Price",
    "Question",
    "Readable",
    "Refused",
    "Savings",
    "SessionAttempt",
    "Settled",
    "Source",
    "Spend",
    "Spent",
    "Statement",
    "Step",
    "TierSavings",
    "UsageRow",
    "Watch",
    "Watching",
    "amount",
    "attempt_key",
    "consistent",
    "copy_view",
    "delete_view",
    "entry",
    "lost",
    "lost_record",
    "open_attempts",
    "partition",
    "price",
    "rates",
    "shares",
    "to_api",
    "track",
]
