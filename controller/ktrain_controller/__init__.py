"""The operator's brain: watches jobs, decides, and restarts, rescales, suspends or gives up. No torch."""
