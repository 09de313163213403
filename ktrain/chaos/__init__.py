"""Game days: a job is trained under faults that a seed has chosen, and held to what ktrain promises."""
