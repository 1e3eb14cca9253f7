"""What a store or run holds, found out and said."""
