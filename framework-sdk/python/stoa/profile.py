"""Who one is and which masters one talks to, kept in a directory."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import grpc

# The names that the certificates of all masters, and of all agents, carry beside their identity.
_MASTER, _AGENT = "master.stoa", "agent.stoa"


@dataclass(frozen=True)
class Profile:
    """Credentials and masters: a directory with ca.pem, cert.pem, key.pem and masters."""

    ca: bytes
    cert: bytes
    key: bytes
    masters: tuple[str, ...]

    @staticmethod
    def load(directory: str | Path) -> Profile:
        """Reads a directory."""
        path = Path(directory)
        lines = (line.split("#")[0].strip() for line in (path / "masters").read_text().splitlines())
        masters = tuple(line for line in lines if line)
        if not masters:
            raise ValueError(f"{path / 'masters'} names no master; write host:port, one a line")
        ca, cert, key = ((path / name).read_bytes() for name in ("ca.pem", "cert.pem", "key.pem"))
        return Profile(ca, cert, key, masters)

    @staticmethod
    def from_env() -> Profile:
        """Reads the directory that STOA_CONTEXT names, else that of the last `stoa up`."""
        if directory := os.environ.get("STOA_CONTEXT"):
            return Profile.load(directory)
        config = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
        return Profile.load((Path(config) / "stoa" / "current").read_text().strip())

    def channel(self, master: str) -> grpc.aio.Channel:
        """A channel to a master, which must show that it is one of this cluster."""
        return self._channel(master, _MASTER)

    def agent_channel(self, agent: str) -> grpc.aio.Channel:
        """A channel to an agent, which must show that it is one of this cluster."""
        return self._channel(agent, _AGENT)

    def _channel(self, address: str, name: str) -> grpc.aio.Channel:
        credentials = grpc.ssl_channel_credentials(self.ca, self.key, self.cert)
        options = [
            ("grpc.ssl_target_name_override", name),
            ("grpc.enable_http_proxy", 0),
            ("grpc.max_receive_message_length", 256 << 20),
            # A process that is stopped, or a host that is cut off, closes nothing: whoever listens to it must learn it.
            ("grpc.keepalive_time_ms", 5_000),
            # Which of the two holds depends on gRPC's version.
            ("grpc.keepalive_timeout_ms", 5_000),
            ("grpc.http2.ping_timeout_ms", 5_000),
            ("grpc.http2.max_pings_without_data", 0),
        ]
        return grpc.aio.secure_channel(address, credentials, options=options)
