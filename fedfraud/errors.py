"""The errors of the federation. A message gives the rule, then the value.

    FedfraudError
    ├── Invalid            INVALID_ARGUMENT     the caller sent something that no state would make right
    ├── Stale              FAILED_PRECONDITION  right at another time: another run, round, attempt, model
    ├── Conflict           ALREADY_EXISTS       a different thing was accepted under the same key
    ├── Fenced             ABORTED              a newer lease of the seat exists
    ├── TooLarge           RESOURCE_EXHAUSTED   more bytes or more calls than allowed
    ├── NotStored          UNAVAILABLE          the disk is full or fails: nothing changed, try again
    ├── Stalled            DEADLINE_EXCEEDED    the caller stopped sending
    ├── NotFound           NOT_FOUND            no such vector, seat or run
    ├── OutOfRange         OUT_OF_RANGE         beyond the end of what exists
    ├── Unauthenticated    UNAUTHENTICATED      no current certificate, or an unknown token
    ├── Forbidden          PERMISSION_DENIED    a role or a seat that may not
    └── Misconfigured      (never on the wire)  a service refuses to start

One interceptor turns them into statuses; handlers have no `try`.
"""

import grpc
from pydantic import ValidationError


class FedfraudError(Exception):
    """The root: `status` is what a caller over gRPC sees."""

    status = grpc.StatusCode.INTERNAL


class Invalid(FedfraudError):
    """Wrong whatever the state of the federation."""

    status = grpc.StatusCode.INVALID_ARGUMENT


class Stale(FedfraudError):
    """Right at another time."""

    status = grpc.StatusCode.FAILED_PRECONDITION


class Conflict(FedfraudError):
    """Something else was accepted under the same key."""

    status = grpc.StatusCode.ALREADY_EXISTS


class Fenced(FedfraudError):
    """A newer lease of the seat exists."""

    status = grpc.StatusCode.ABORTED


class TooLarge(FedfraudError):
    """More bytes, seats or calls than allowed."""

    status = grpc.StatusCode.RESOURCE_EXHAUSTED


class NotStored(FedfraudError):
    """The disk is full or fails: nothing was changed, and nothing is acknowledged."""

    status = grpc.StatusCode.UNAVAILABLE


class Stalled(FedfraudError):
    """The caller stopped sending."""

    status = grpc.StatusCode.DEADLINE_EXCEEDED


class NotFound(FedfraudError):
    """There is no such thing."""

    status = grpc.StatusCode.NOT_FOUND


class OutOfRange(FedfraudError):
    """Beyond the end of what exists."""

    status = grpc.StatusCode.OUT_OF_RANGE


class Unauthenticated(FedfraudError):
    """Nobody known: no current certificate, or an unknown token."""

    status = grpc.StatusCode.UNAUTHENTICATED


class Forbidden(FedfraudError):
    """Somebody known who may not."""

    status = grpc.StatusCode.PERMISSION_DENIED


class Misconfigured(FedfraudError):
    """A setting, file or bound that a service refuses to start with."""


def setting_faults(error: ValidationError) -> str:
    """What is wrong with a service's settings, a clause each: the setting in capitals, the rule, and its value."""
    clauses = []
    for fault in error.errors(include_url=False, include_context=False):
        name, rule = ".".join(str(part) for part in fault["loc"]).upper(), fault["msg"]
        if fault["type"] == "value_error":  # our own sentence, which has the value
            sentence = rule.removeprefix("Value error, ")
            clauses.append(f"{name}: {sentence}" if name else sentence)
        else:
            rule = rule.replace("Input should", "must")
            clauses.append(f"{name} {rule}, got {str(fault['input'])[:80]!r}" if "input" in fault else f"{name} {rule}")
    return "; ".join(clauses)
