"""From annotation, tracks and expression to a store."""
