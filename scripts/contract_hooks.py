"""What the judge must know of us that no schema can say. Loaded by scripts/contract.toml."""

import uuid

import schemathesis
from schemathesis.core.failures import Failure


@schemathesis.hook
def before_call(context, case, kwargs):
    """An idempotency key names one request: a valid one that comes again with another is refused, and rightly."""
    headers = case.headers
    if headers and (case.meta is None or case.meta.generation.mode.is_positive):
        for name in list(headers):
            if name.lower() == "idempotency-key":
                headers[name] = str(uuid.uuid4())
    # Half a minute for something to happen, many times over, is no time that anybody has.
    query = case.query
    if query and str(query.get("wait", "")).isdigit():
        query["wait"] = 0


@schemathesis.hook
def filter_failure(context, failure: Failure, case, response) -> bool:
    """A good request may be refused for what a schema cannot say (a password that is easy to guess), if the answer's
    description in openapi.json names each code that it is refused with."""
    if type(failure).__name__ != "RejectedPositiveData" or response.status_code != 422:
        return True
    said = context.operation.definition.raw["responses"].get("422", {}).get("description", "")
    codes = {problem["code"] for problem in response.json()["errors"]}
    return not all(f"`{code}`" in said for code in codes)
