"""A cluster as a file: what it may say, how it is read, and what is built of it."""

from langchain_cluster.config.build import cluster_arguments
from langchain_cluster.config.describe import describe
from langchain_cluster.config.load import load
from langchain_cluster.config.schema import ClusterConfig, json_schema

__all__ = ["ClusterConfig", "cluster_arguments", "describe", "json_schema", "load"]
