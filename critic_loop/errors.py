"""Every error that a user of Critic Loop may catch.

    CriticLoopError
    ├── ConfigError                a setting is wrong or missing
    │   ├── AlreadyRunning         the tree is being run already
    │   ├── OtherTask, OtherLoop   the tree was begun with another task, with another loop
    │   ├── OtherVersion           the tree was begun by another version of Critic Loop
    │   ├── NoSuchSlot             the loop has no slot of this name
    │   ├── UnreadableResponse     a person's answer cannot be read
    │   └── NotAwaited             no attempt waits for this answer
    ├── AssetError                 an agent, recipe or prompt file is wrong
    │   └── NoSuchAsset            there is no such file
    ├── ModelError                 a model call failed
    │   ├── RateLimited, ContextOverflow, Refused, DeadlineExceeded, EndpointError
    │   ├── CannotScore            no log-probabilities of a given text
    │   ├── NotSent                the run ended before the call was sent
    │   ├── Unreachable            nothing answers at the address
    │   │   ├── NoSuchModel        the endpoint has no such model
    │   │   └── ServerFailed       a managed server failed to start
    │   └── AuthFailed, CreditExhausted, SameError
    ├── OutputError, ToolError, VerifierError, SandboxUnavailable
    ├── BudgetSpent                the budget of calls or time is spent; only roles that ask models see it
    ├── SearchError                a search returned an invalid move
    ├── StopRuleError              a stop rule failed
    ├── StoreError                 trees cannot be written or read
    │   ├── NoSuchTree             the store has no tree of this id
    │   ├── NoSuchAttempt          the tree has no attempt or feedback of this id
    │   └── WriteConflict          another process writes the same tree
    ├── NotRecorded                a replay sends a request that was not stored
    └── ExportError                rows cannot be made

Each class has a `code`, which is stable and documented; a `scope`, how far it reaches (attempt, tree or job);
and an `http_status`, a suggestion for servers. Knows names only: `critic_loop.core.errors` defines the classes.
A budget or a host's step limit that is reached is a stop reason of the result, not an error.
"""

from critic_loop.core.errors import (
    AlreadyRunning,
    AssetError,
    AuthFailed,
    BudgetSpent,
    CannotScore,
    ConfigError,
    ContextOverflow,
    CreditExhausted,
    CriticLoopError,
    DeadlineExceeded,
    EndpointError,
    ExportError,
    ModelError,
    NoSuchAsset,
    NoSuchAttempt,
    NoSuchModel,
    NoSuchSlot,
    NoSuchTree,
    NotAwaited,
    NotRecorded,
    NotSent,
    OtherLoop,
    OtherTask,
    OtherVersion,
    OutputError,
    RateLimited,
    Refused,
    SameError,
    SandboxUnavailable,
    SearchError,
    ServerFailed,
    StopRuleError,
    StoreError,
    ToolError,
    Unreachable,
    UnreadableResponse,
    VerifierError,
    WriteConflict,
)

__all__ = [
    "AlreadyRunning",
    "AssetError",
    "AuthFailed",
    "BudgetSpent",
    "CannotScore",
    "ConfigError",
    "ContextOverflow",
    "CreditExhausted",
    "CriticLoopError",
    "DeadlineExceeded",
    "EndpointError",
    "ExportError",
    "ModelError",
    "NoSuchAsset",
    "NoSuchAttempt",
    "NoSuchModel",
    "NoSuchSlot",
    "NoSuchTree",
    "NotAwaited",
    "NotRecorded",
    "NotSent",
    "OtherLoop",
    "OtherTask",
    "OtherVersion",
    "OutputError",
    "RateLimited",
    "Refused",
    "SameError",
    "SandboxUnavailable",
    "SearchError",
    "ServerFailed",
    "StopRuleError",
    "StoreError",
    "ToolError",
    "Unreachable",
    "UnreadableResponse",
    "VerifierError",
    "WriteConflict",
]
