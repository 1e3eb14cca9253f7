"""Expression from the tables of many programs: their dialects, samples and how they meet genes."""
