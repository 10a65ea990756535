"""From an HTTP request to inputs and options: JSON, forms, and bodies that are one file."""

import asyncio
import json
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import FormParser, MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from .inputs import Input, Taker
from .limits import Limits

FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")
MOST_FIELDS = 100


@dataclass(frozen=True)
class Asked:
    """What a request has.

    Attributes:
        inputs: in its order.
        options: names and values.
    """

    inputs: list[Input]
    options: list[tuple[str, Any]]


async def asked(request: Request, taker: Taker, limits: Limits) -> Asked:
    """What a request asks.

    Raises:
        HTTPException: 400, it cannot be read; 408, it did not arrive in time; 413, it is too large; 415, it is of a
            type that is not read here; 422, it is no input for this network.
    """
    body = await whole_body(request, limits)
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    query = list(request.query_params.multi_items())
    if media in FORMS:
        form = await form_of(request, body, media, limits)
        try:
            found = await asyncio.to_thread(of_form, form, taker, limits)
        finally:
            await form.close()
    elif media == "application/json" or media.endswith("+json"):
        found = await asyncio.to_thread(of_json, body, taker, limits)
    else:
        if not body:
            raise HTTPException(400, "the body is empty: send a file, a form or JSON")
        found = Asked([await asyncio.to_thread(taker.of_body, body, media)], [])
    if not found.inputs:
        raise HTTPException(422, "nothing is asked: send a file, a text or an array")
    return Asked(found.inputs, [*query, *found.options])


async def whole_body(request: Request, limits: Limits) -> bytes:
    """The body, as long as it is not too large and comes in time.

    What is a little over the limit is read all the same, so that whoever sends it hears why.

    Raises:
        HTTPException: 400, the connection broke; 408; 413.
    """
    declared = request.headers.get("content-length", "")
    refusal = HTTPException(
        413, f"the body has more than {limits.bytes:,} bytes: send less at once", {"connection": "close"}
    )
    if declared.isdecimal() and int(declared) > 2 * limits.bytes:
        raise refusal
    parts, size = list[bytes](), 0
    try:
        async with asyncio.timeout(limits.timeout):
            async for part in request.stream():
                size += len(part)
                if size > 2 * limits.bytes:
                    raise refusal
                if size <= limits.bytes:
                    parts.append(part)
    except TimeoutError as error:
        raise HTTPException(
            408, f"the body did not arrive within {limits.timeout:g} seconds", {"connection": "close"}
        ) from error
    except ClientDisconnect as error:
        raise HTTPException(400, "the connection broke before the body was there") from error
    if size > limits.bytes:
        raise refusal
    return b"".join(parts)


class WholeForm(MultiPartParser):
    """Starlette's parser, which says nothing where a form stops amid a file: the file is just not there.

    Attributes:
        ended: whether the last boundary has come.
    """

    ended = False

    def on_end(self) -> None:
        super().on_end()
        self.ended = True

    def close(self) -> None:
        """Let go of what was read so far."""
        for file in self._files_to_close_on_error:
            file.close()


async def form_of(request: Request, body: bytes, media: str, limits: Limits) -> FormData:
    """The fields and files of a form.

    Raises:
        HTTPException: it is torn, or has too many of them.
    """

    async def stream() -> AsyncGenerator[bytes, None]:
        yield body
        yield b""

    if media != FORMS[0]:
        return await FormParser(request.headers, stream(), max_fields=MOST_FIELDS, max_part_size=limits.bytes).parse()
    parser = WholeForm(
        request.headers, stream(), max_files=limits.inputs, max_fields=MOST_FIELDS, max_part_size=limits.bytes
    )
    parser.spool_max_size = limits.bytes  # in memory, as the body is
    try:
        form = await parser.parse()
    except KeyError as error:
        raise HTTPException(400, "the form has no boundary in its content type") from error
    except MultiPartException as error:
        status = 413 if "Too many" in error.message else 400
        raise HTTPException(status, f"the form cannot be read: {error.message}") from error
    if not parser.ended:
        parser.close()
        raise HTTPException(400, "the form cannot be read: it ends before its time")
    return form


def of_form(form: FormData, taker: Taker, limits: Limits) -> Asked:
    """What a form asks: its files, its fields `text` (or those of both sides) and `input`; others are options."""
    inputs, options = list[Input](), list[tuple[str, Any]]()
    names = taker.sides or ("text",)
    for field, value in form.multi_items():
        if isinstance(value, UploadFile):
            inputs.append(taker.of_file(value.file.read(), value.filename or ""))
        elif field == "input":
            inputs.append(taker.of_value(value))
        elif field not in names or taker.form != "text":
            options.append((field, value))
    if taker.form == "text":
        inputs += (taker.of_value({**dict(zip(names, sides, strict=True))}) for sides in sides_in(form, names))
    require_few(len(inputs), limits)
    return Asked(inputs, options)


def sides_in(form: FormData, names: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The texts in the fields of a form.

    Raises:
        HTTPException: there are not as many of the one side as of the other.
    """
    sides = [[str(value) for value in form.getlist(name)] for name in names]
    if len({len(side) for side in sides}) > 1:
        raise HTTPException(422, f"two texts are needed: {' and '.join(names)}")
    return zip(*sides, strict=True)


def of_json(body: bytes, taker: Taker, limits: Limits) -> Asked:
    """What {"input": ...} or {"inputs": [..., ...]} asks; other keys are options.

    Raises:
        HTTPException: it is no JSON, or has neither.
    """
    try:
        said = json.loads(body, parse_constant=float)
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, f"the body is no JSON: {error}") from error
    if not isinstance(said, dict) or ("input" in said) == ("inputs" in said):
        raise HTTPException(422, 'the body must be {"input": ...} or {"inputs": [...]}, and options beside it')
    values = said["inputs"] if "inputs" in said else [said["input"]]
    if not isinstance(values, list):
        raise HTTPException(422, '"inputs" must be a list: use "input" for one')
    require_few(len(values), limits)
    options = [(name, value) for name, value in said.items() if name not in ("input", "inputs")]
    return Asked([taker.of_value(value) for value in values], options)


def require_few(number: int, limits: Limits) -> None:
    """Refuse too many inputs.

    Raises:
        HTTPException: there are.
    """
    if number > limits.inputs:
        raise HTTPException(413, f"there are {number} inputs, and this service takes {limits.inputs} at a time")
