"""Where the time of a job goes: every second from its submission is productive or lost for one reason of a closed set."""

from ktrain.goodput.account import BADPUT, PRODUCTIVE, Account, Doing, Pending, Reason
from ktrain.goodput.keep import accounts, key_of, newest, until_death
from ktrain.goodput.total import Total, total

__all__ = [
    "BADPUT",
    "PRODUCTIVE",
    "Account",
    "Doing",
    "Pending",
    "Reason",
    "Total",
    "accounts",
    "key_of",
    "newest",
    "total",
    "until_death",
]
