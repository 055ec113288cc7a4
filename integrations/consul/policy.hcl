# For a cluster that reads the service.
service "llm" { policy = "read" }
node_prefix "" { policy = "read" }

# A server that registers itself needs, instead: service "llm" { policy = "write" }
