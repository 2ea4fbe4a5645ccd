"""Files of the past into the ledger: read row by row, mapped to CloudEvents, sent as any other sender does.

It is a client: it imports nothing of the server, and the server's exact deduplication is what makes it safe to repeat.
Pure: rows.py, times.py, mapping.py. The reading: lines.py, ndjson.py, csvrows.py, parquet.py, files.py. The rest sends.
"""

from interlock.importing.files import Format, open_source
from interlock.importing.mapping import Mapping
from interlock.importing.rows import Source
from interlock.importing.run import RESULTS, Import, Problem
from interlock.importing.sending import PATIENCE_S, GaveUp, Sender
from interlock.importing.times import Times

__all__ = [
    "PATIENCE_S",
    "RESULTS",
    "Format",
    "GaveUp",
    "Import",
    "Mapping",
    "Problem",
    "Sender",
    "Source",
    "Times",
    "open_source",
]
