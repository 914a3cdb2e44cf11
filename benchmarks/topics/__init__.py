"""The topics, one module each, in the order in which they run."""

TOPICS = (
    "calls",
    "lifecycle",
    "queues",
    "transfer",
    "buffers",
    "parallel",
    "pool",
    "packages",
    "growth",
    "peak",
)
