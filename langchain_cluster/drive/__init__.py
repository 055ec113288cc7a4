"""The only place where time passes and bytes move: a blocking driver and an asyncio one."""

from langchain_cluster.drive.blocking import BlockingDriver
from langchain_cluster.drive.clock import SystemClock
from langchain_cluster.drive.tasks import TaskDriver
from langchain_cluster.drive.workers import Workers

__all__ = ["BlockingDriver", "SystemClock", "TaskDriver", "Workers"]
