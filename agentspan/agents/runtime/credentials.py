"""The names of `agentspan.agents.credentials`, where programs look for them."""

from agentspan.agents.credentials import (
    CredentialAuthError,
    CredentialFile,
    CredentialNotFoundError,
    CredentialRateLimitError,
    CredentialServiceError,
    SubprocessIsolator,
    WorkerCredentialFetcher,
    get_credential,
    get_secret,
    resolve_credentials,
)

__all__ = [
    "CredentialAuthError",
    "CredentialFile",
    "CredentialNotFoundError",
    "CredentialRateLimitError",
    "CredentialServiceError",
    "SubprocessIsolator",
    "WorkerCredentialFetcher",
    "get_credential",
    "get_secret",
    "resolve_credentials",
]
