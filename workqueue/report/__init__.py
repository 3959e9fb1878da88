"""Reports: verdicts as JSON, the source of truth, and as what people read. Nothing here runs anything."""
