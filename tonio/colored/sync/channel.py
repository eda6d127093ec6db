"""The same as `tonio.sync.channel`."""

from tonio.sync.channel import (
    BroadcastReceiver,
    BroadcastSender,
    ChannelStatistics,
    Receiver,
    Sender,
    UnboundedSender,
    WatchReceiver,
    WatchSender,
    broadcast,
    channel,
    unbounded,
    watch,
)

__all__ = [
    "BroadcastReceiver",
    "BroadcastSender",
    "ChannelStatistics",
    "Receiver",
    "Sender",
    "UnboundedSender",
    "WatchReceiver",
    "WatchSender",
    "broadcast",
    "channel",
    "unbounded",
    "watch",
]
