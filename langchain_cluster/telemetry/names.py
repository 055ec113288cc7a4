"""Every name that leaves this process in a trace, in one place.

`gen_ai.*` follows the OpenTelemetry semantic conventions for generative AI, version 1.37 (development
status, so pinned here); what they have no word for is `langchain_cluster.*`.
"""

SEMCONV_VERSION = "1.37.0"
SCOPE = "langchain_cluster"

CALL = "langchain_cluster chat"
LOOKUP = "langchain_cluster cache lookup"
ATTEMPT = "chat"  # followed by the model's name
CALL_EMBEDDINGS = "langchain_cluster embeddings"
ATTEMPT_EMBEDDINGS = "embeddings"
CALL_RETRIEVAL = "langchain_cluster retrieval"
ATTEMPT_RETRIEVAL = "retrieval"  # this version of the conventions has no word for it yet

OPERATION = "gen_ai.operation.name"
PROVIDER = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
RESPONSE_MODEL = "gen_ai.response.model"
FINISH_REASONS = "gen_ai.response.finish_reasons"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
SERVER_ADDRESS = "server.address"
SERVER_PORT = "server.port"
ERROR_TYPE = "error.type"

BALANCER = "langchain_cluster.balancer"
ENDPOINT = "langchain_cluster.endpoint"
TIER = "langchain_cluster.tier"
ATTEMPT_NUMBER = "langchain_cluster.attempt"
ATTEMPTS = "langchain_cluster.attempts"
VERDICT = "langchain_cluster.verdict"
CACHE = "langchain_cluster.cache"
HEDGED = "langchain_cluster.hedged"
COST = "langchain_cluster.cost_usd"
AGENT = "langchain_cluster.agent"
TENANT = "langchain_cluster.tenant_hash"
STREAMING = "langchain_cluster.streaming"
FIRST_TOKEN_SECONDS = "langchain_cluster.first_token_seconds"
