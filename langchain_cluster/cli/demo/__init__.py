"""`langchain-cluster demo`: three servers, one of which is killed, and not one failed call."""

from langchain_cluster.cli.demo.command import EPILOG, demo

__all__ = ["EPILOG", "demo"]
