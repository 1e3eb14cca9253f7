"""Files as users meet them: written whole or not at all, locked, tables, text in bulk, figures."""
