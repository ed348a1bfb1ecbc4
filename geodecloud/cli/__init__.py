"""The command line. No other room imports it."""
