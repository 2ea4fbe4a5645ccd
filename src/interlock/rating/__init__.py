"""Rating: versioned plans on meters, priced exactly. Usage and what is booked go in, amounts and their steps come out.

Pure, all of it: no clock, no log, no network. What it knows of the world is a `Plan` and a `Usage`; who keeps plans,
counts usage and writes invoices imports this package, and it imports none of them.
"""

from interlock.rating.checking import check_charge, check_plan
from interlock.rating.currencies import PLACES
from interlock.rating.exact import MODES, exact, fixed, round_to, text_of, to_nano
from interlock.rating.plan import (
    Charge,
    Commitment,
    Conversion,
    Discount,
    EntitledLimit,
    Entitlements,
    Mode,
    Plan,
    Price,
    Rounding,
    Source,
    Tax,
    Taxes,
    Windows,
)
from interlock.rating.quantities import convert
from interlock.rating.rate import rate
from interlock.rating.reading import plan_hash, read_as, read_plan, read_plan_file
from interlock.rating.reading import record_of as plan_record
from interlock.rating.rounding import Rounder, places_of
from interlock.rating.splitting import TIE_BREAKS, TieBreak, apportion, split
from interlock.rating.steps import Step, Work, holds
from interlock.rating.taxing import TaxLine
from interlock.rating.total import Line, Reduction, Total, total
from interlock.rating.usage import Booked, Bucket, Days, Event, Rated, Usage
from interlock.rating.usagereading import read_usage, read_usage_file

__all__ = [
    "MODES",
    "PLACES",
    "TIE_BREAKS",
    "Booked",
    "Bucket",
    "Charge",
    "Commitment",
    "Conversion",
    "Days",
    "Discount",
    "EntitledLimit",
    "Entitlements",
    "Event",
    "Line",
    "Mode",
    "Plan",
    "Price",
    "Rated",
    "Reduction",
    "Rounder",
    "Rounding",
    "Source",
    "Step",
    "Tax",
    "TaxLine",
    "Taxes",
    "TieBreak",
    "Total",
    "Usage",
    "Windows",
    "Work",
    "apportion",
    "check_charge",
    "check_plan",
    "convert",
    "exact",
    "fixed",
    "holds",
    "places_of",
    "plan_hash",
    "plan_record",
    "rate",
    "read_as",
    "read_plan",
    "read_plan_file",
    "read_usage",
    "read_usage_file",
    "round_to",
    "split",
    "text_of",
    "to_nano",
    "total",
]
