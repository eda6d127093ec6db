"""Channels: messages from any number of tasks to any number of others."""

from tonio._core import ChannelStatistics, Receiver, Sender, UnboundedSender, channel, unbounded

__all__ = [
    "ChannelStatistics",
    "Receiver",
    "Sender",
    "UnboundedSender",
    "channel",
    "unbounded",
]
