"""Files by download: several addresses, continuation of a partial file, and a checksum."""

import gzip
import hashlib
import logging
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Sequence
from http.client import HTTPException
from pathlib import Path

from ..errors import UserError

log = logging.getLogger(__name__)
CHUNK = 1 << 20
# MD5 of what is in a packed file, by that of the file as its authors packed it: names and times in its header are not
# the content, and whoever packs it anew has others.
CONTENTS = {
    "f68b3c2dcbeaaa9fbdd348bbdeb94873": "6bbc9ace898e44ae57da46a324031adb",  # MNIST: images and labels for training
    "d53e105ee54ea40749a09fcbcd1e9432": "a25bea736e30d166cdddb491f175f624",
    "9fb629c4189551a2d022fa330f9573f3": "2646ac647ad5339dbf082846283269ea",  # and for the test
    "ec29112dd5afa0611ce80d1b7f02629c": "27ae3e4e09519cfbb04c329615203637",
    "81ff90b99829c0cd4b1b587d394afd39": "d3b4bc1671cfb805267f97f16884beba",  # Multi30k: train.de, train.en
    "0065d13af80720a55ca8153d126e6627": "053a34ece7c904dbc8c7361799afbe4c",
    "6e0e229eb049e3fc99a1ef02fb2d5f91": "9f139b15d9d11936dea7af2904e57d8c",  # val.de, val.en
    "2b69aa9253948ac9f67e94917272dd40": "2234730e7925354b766681b029b347ec",
    "efd67d314d98489b716b145475101932": "cde61d7401b116652ee84099c7858ca3",  # test_2016_flickr.de, .en
    "ff2c0fcb4893a13bd73414306bc250ae": "2022a6c31e2418047a0511333d55ed42",
}


def md5_of(path: Path, *, unpacked: bool = False) -> str:
    """Hexadecimal MD5 of a file, or of what is packed in it by gzip.

    MD5 is what the data sets' authors publish; it detects damage, not malice.
    """
    digest = hashlib.md5(usedforsecurity=False)
    with gzip.open(path) if unpacked else path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def same_content(path: Path, md5: str) -> bool:
    """Whether a file that was packed anew has the content of the one with checksum `md5`, as far as that is known."""
    if md5 not in CONTENTS:
        return False
    try:
        return md5_of(path, unpacked=True) == CONTENTS[md5]
    except (OSError, EOFError, zlib.error):
        return False


def fetch(urls: Sequence[str], path: Path, md5: str, *, timeout: float = 20.0) -> Path:
    """Make sure that `path` holds the file with checksum `md5`, or its content packed anew; else download it.

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
        if md5_of(path) == md5 or same_content(path, md5):
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
