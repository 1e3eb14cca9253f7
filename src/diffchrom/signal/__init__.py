"""From bigWigs and reads to bins, and back to bigWigs."""
