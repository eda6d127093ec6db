"""Channels: messages from any number of tasks to any number of others."""

from tonio._core import (
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
