"""Provide the command line. No other room imports it."""
