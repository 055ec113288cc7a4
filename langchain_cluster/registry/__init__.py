"""How Consul and etcd are spoken to; what for is decided above."""
