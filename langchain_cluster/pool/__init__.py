"""Who is there? Members, snapshots and leases."""

from langchain_cluster.pool.members import Lease, Member, Snapshot
from langchain_cluster.pool.pool import Pool

__all__ = ["Lease", "Member", "Pool", "Snapshot"]
