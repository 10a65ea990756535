"""Files by download: several addresses, continuation of a partial file, and a checksum."""

import hashlib
import logging
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from http.client import HTTPException
from pathlib import Path

from ..errors import UserError

log = logging.getLogger(__name__)
CHUNK = 1 << 20


def md5_of(path: Path) -> str:
    """Hexadecimal MD5 of a file. MD5 is what the data sets' authors publish; it detects damage, not malice."""
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def fetch(urls: Sequence[str], path: Path, md5: str, *, timeout: float = 20.0) -> Path:
    """Make sure that `path` holds the file with checksum `md5`, and download it if it does not.

    The bytes go to `<path>.part`, which a later call continues where the server can; the file gets its
    name only when it is complete and its checksum is right. Addresses are tried in order.

    Args:
        urls: the official address first, then mirrors.
        path: where the file is to be.
        md5: hexadecimal checksum of the whole file.
        timeout: seconds without an answer after which an address is given up.

    Raises:
        UserError: no address gave the file. The partial file stays.
    """
    if path.is_file():
        if md5_of(path) == md5:
            return path
        log.warning("%s has a wrong checksum: it is downloaded anew", path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    reasons = []
    for url in urls:
        # A partial file that turns out wrong is dropped, and the same address is asked once more from the start.
        for _ in range(2):
            continued = part.exists() and part.stat().st_size > 0
            try:
                download_file(url, part, timeout)
            except (OSError, HTTPException, ValueError) as error:
                reasons.append(f"{url}: {error}")
                break
            if md5_of(part) == md5:
                part.replace(path)
                return path
            part.unlink()
            if not continued:
                reasons.append(f"{url}: the file has a wrong checksum")
                break
    raise UserError(
        f"{path.name} is not in {path.parent} and could not be downloaded ({'; '.join(reasons)}): put the file "
        "there, or name the folder that has it with data.root=FOLDER or TORCHATLAS_DATA"
    )


def fetch_checked(urls: Sequence[str], path: Path, fault: Callable[[Path], str], *, timeout: float = 20.0) -> Path:
    """Like `fetch`, for files without a published MD5: make sure that `path` is there and nothing is wrong with it.

    Args:
        urls: the official address first, then mirrors.
        path: where the file is to be.
        fault: says what is wrong with a file, or nothing.
        timeout: seconds without an answer after which an address is given up.

    Raises:
        UserError: no address gave the file.
    """
    if path.is_file():
        if not (reason := fault(path)):
            return path
        log.warning("%s: %s; it is downloaded anew", path, reason)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    reasons = []
    for url in urls:
        part.unlink(missing_ok=True)  # of unknown origin: nothing would tell that its continuation is wrong
        try:
            download_file(url, part, timeout)
        except (OSError, HTTPException, ValueError) as error:
            reasons.append(f"{url}: {error}")
            continue
        if not (reason := fault(part)):
            part.replace(path)
            return path
        reasons.append(f"{url}: {reason}")
    part.unlink(missing_ok=True)
    raise UserError(
        f"{path.name} is not in {path.parent} and could not be downloaded ({'; '.join(reasons)}): put the file "
        "there, or name the folder that has it with data.root=FOLDER or TORCHATLAS_DATA"
    )


def download_file(url: str, part: Path, timeout: float) -> None:
    start = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "torchatlas"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 416 and start:  # nothing after what we have: perhaps complete, the checksum tells
                return
        raise
    with response:
        continues = response.status == 206
        done = start if continues else 0
        length = response.headers.get("Content-Length")
        total = done + int(length) if length else None
        log.info("downloading %s%s", url, f" (continued at {done / 1e6:.1f} MB)" if continues else "")
        shown = time.monotonic()
        with part.open("ab" if continues else "wb") as file:
            while chunk := response.read(CHUNK):
                file.write(chunk)
                done += len(chunk)
                if time.monotonic() - shown > 5:
                    shown = time.monotonic()
                    log.info("  %.1f MB%s", done / 1e6, f" of {total / 1e6:.1f}" if total else "")
    if total is not None and done < total:
        raise OSError(f"the connection ended after {done} of {total} bytes")
