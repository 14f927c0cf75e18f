"""The columns of a document, wherever documents stand in Parquet, and the layout of a data set's folder."""

import pyarrow as pa

# A document, immutable once ingested. `id` is the digest of source and content.
DOCUMENT = pa.schema(
    [
        ("id", pa.string()),
        ("text", pa.string()),
        ("source", pa.string()),
        ("domain", pa.string()),
        ("language", pa.string()),
        ("metadata", pa.string()),  # a JSON object of what else came with the text; null: nothing
    ]
)
# A document that stays, as edited, with what its attributes say that a mixture can use.
KEPT = pa.schema(
    [
        *DOCUMENT,
        ("marks", pa.list_(pa.string())),  # "operator.reason" of what was against it without dropping it
        ("scores", pa.map_(pa.string(), pa.float64())),
        ("cluster", pa.string()),  # id of the first of its near-duplicates; null: it has none
        ("bytes", pa.int64()),  # length of the text in UTF-8
    ]
)
# A document that was dropped, with the operator that dropped it and its reason; for a duplicate, `evidence` names the
# document that was kept and their similarity. `value` broke the operator's limit; `start` and `end` mark the offending
# passage in `text` (equal: all of it).
REMOVED = pa.schema(
    [
        *DOCUMENT,
        ("operator", pa.string()),
        ("reason", pa.string()),
        ("evidence", pa.string()),
        ("value", pa.float64()),
        ("start", pa.int64()),
        ("end", pa.int64()),
    ]
)
# What a stage that judges and edits says of each document: same rows and order. `reason`: null where it stays; `value`
# broke the limit; `start` and `end` mark the passage in the text as it stood; `text`: null unless edited.
JUDGEMENT = pa.schema(
    [
        ("id", pa.string()),
        ("operator", pa.string()),
        ("reason", pa.string()),
        ("value", pa.float64()),
        ("start", pa.int64()),
        ("end", pa.int64()),
        ("evidence", pa.string()),
        ("marks", pa.list_(pa.string())),
        ("text", pa.string()),
        ("edits", pa.map_(pa.string(), pa.int64())),
    ]
)
# A piece of input that never became a document.
QUARANTINE = pa.schema([("file", pa.string()), ("row", pa.int64()), ("reason", pa.string()), ("sample", pa.string())])

# Folders below DATASET/, in the order in which data flows.
INGESTED = "corpus/ingested"
QUARANTINED = "corpus/quarantine"
ATTRIBUTES = "corpus/attributes"  # /<stage>: same partitions and order as ingested
DOCUMENTS = "documents"  # what was kept
REMOVED_DOCUMENTS = "removed"
INDEX = "index"  # of the documents, as arrays; derived
TOKENIZER = "tokenizer"
LEDGER = "ledger"
BLOCKS = "blocks"
VALIDATION = "validation"
