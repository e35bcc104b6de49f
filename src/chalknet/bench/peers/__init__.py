"""One file a library: how it does each kind of work. Each is imported by `peer_work` alone, in that peer's process."""
