"""Reading TOML that people wrote: every mistake at once, each at its line and column."""
