"""The same as `tonio.sync.channel`."""

from tonio.sync.channel import (
    ChannelStatistics,
    Receiver,
    Sender,
    UnboundedSender,
    channel,
    unbounded,
)

__all__ = [
    "ChannelStatistics",
    "Receiver",
    "Sender",
    "UnboundedSender",
    "channel",
    "unbounded",
]
