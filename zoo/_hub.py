"""One file of a Hub repository, as a stream of bytes: address, headers, retries, errors.

The library's own HTTP session, addresses and token are used, so proxies, certificates, mirrors and
logins work as its users know them; but not its download. `zoo.weights` has the reasons.
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple, Protocol

from zoo import __version__
from zoo.errors import WeightsError

__all__ = ["Commit", "Sink", "TooLongError", "stream"]

CONNECT_SECONDS = 4.0
RETRY_SECONDS = (0.5, 1.0)
TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})

Response = Any
"""An answer of the library's HTTP client, which is httpx or httpx2 by the library's version."""


class Commit(NamedTuple):
    """A commit of a repository on the Hub: `org/name` and 40 hexadecimal digits."""

    repo: str
    revision: str

    def __str__(self) -> str:
        return f"{self.repo} at {self.revision[:7]}"


class Sink(Protocol):
    """Where the bytes of a download go.

    `size` is how many it has had, `limit` how many it takes at most.
    """

    limit: int

    @property
    def size(self) -> int: ...

    def write(self, chunk: bytes) -> None: ...

    def restart(self) -> None: ...


class TooLongError(WeightsError):
    """The server has more bytes for us than the file can have."""


class _Transient(Exception):
    """Worth another try."""


def stream(commit: Commit, file: str, sink: Sink, *, what: str) -> None:
    """Send `file` at the pinned revision to `sink`, from where the sink stands to the end.

    What may pass (no connection, a cut one, a server error) is tried three times within seconds.
    Silence is not: whoever waited for a timeout has waited long enough.

    Args:
        commit: The repository and the pinned revision.
        file: A plain file name in the repository.
        sink: Takes the bytes. After an error it may have had some of them.
        what: What the file is wanted for, as the beginning of an error text.

    Raises:
        WeightsError: if the file cannot be had.
        TooLongError: if there is more of it than `sink.limit`; nothing beyond was written.
    """
    for pause in (*RETRY_SECONDS, None):
        try:
            return _attempt(commit, file, sink, what)
        except _Transient as trouble:
            if pause is None:
                raise _unreachable(commit, file, what, str(trouble)) from trouble.__cause__
        time.sleep(pause)


def _attempt(commit: Commit, file: str, sink: Sink, what: str) -> None:
    from huggingface_hub import constants, get_session, hf_hub_url
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]

    url = hf_hub_url(commit.repo, file, revision=commit.revision)
    headers = _headers()
    if sink.size:
        headers["Range"] = f"bytes={sink.size}-"
    timeout = httpx.Timeout(constants.HF_HUB_DOWNLOAD_TIMEOUT, connect=CONNECT_SECONDS)
    try:
        # The session follows redirects, and leaves the token behind when the host changes.
        with get_session().stream("GET", url, headers=headers, timeout=timeout) as response:
            _check(response, commit, file, sink, what)
            for chunk in response.iter_raw():
                if sink.size + len(chunk) > sink.limit:
                    raise _too_long(url, sink, what)
                sink.write(chunk)
    except (httpx.NetworkError, httpx.RemoteProtocolError) as error:
        raise _Transient(_describe(error)) from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise _unreachable(commit, file, what, _describe(error)) from error


def _headers() -> dict[str, str]:
    from huggingface_hub import constants, get_token

    # The library's `build_hf_headers` would first ask the Hub which programs call it, and would so
    # add its own timeout to ours. Identity: what is hashed and counted is what travels.
    headers = {"User-Agent": f"structured-zoo/{__version__}", "Accept-Encoding": "identity"}
    if not constants.HF_HUB_DISABLE_IMPLICIT_TOKEN and (token := get_token()):
        headers["Authorization"] = f"Bearer {token}"
    return headers


def _check(response: Response, commit: Commit, file: str, sink: Sink, what: str) -> None:
    """Look at status and headers before the first byte is taken."""
    status = response.status_code
    resumed = sink.size > 0
    if status in TRANSIENT:
        raise _Transient(f"the server answers {status}")
    if resumed and status == 416:
        sink.restart()
        raise _Transient("the server has less of the file than was there before")
    if status not in (200, 206):
        raise _refused(response, commit, file, what)
    start = f"bytes {sink.size}-"
    if resumed and not (status == 206 and _header(response, "content-range").startswith(start)):
        sink.restart()
        if status == 206:
            raise _Transient("the server sends another part of the file than was asked for")
    for answer in (*response.history, response):
        answered = _header(answer, "x-repo-commit")
        if answered and answered != commit.revision:
            raise WeightsError(
                f"{what}: the Hub answers with another commit than the pinned one",
                file=f"{file} of {commit.repo}",
                expected=commit.revision,
                found=repr(answered),
                next_step="check the endpoint (HF_ENDPOINT); do not use these files",
            )
    length = _header(response, "content-length")
    if length.isdecimal() and sink.size + int(length) > sink.limit:
        raise _too_long(str(response.url), sink, what)


def _header(response: Response, name: str) -> str:
    value: str = response.headers.get(name, "")
    return value


def _refused(response: Response, commit: Commit, file: str, what: str) -> WeightsError:
    """The error for an answer that another try would not change."""
    code, status = _header(response, "x-error-code"), response.status_code
    expected = f"the file at revision {commit.revision}"
    if code == "RevisionNotFound":
        problem, step = "the repository has no such revision", "check the revision in the name"
    elif code == "EntryNotFound":
        problem = "the repository has no such file at this revision"
        step = (
            "a repository of the zoo holds config.json and model.safetensors; only these are read"
        )
    elif code == "GatedRepo" or status == 403:
        problem, step = "the repository does not let you in", "ask for access, then `hf auth login`"
    elif code == "RepoNotFound" or status in (401, 404):
        problem = "the repository does not exist, or is private"
        step = "check its name; `hf auth login` or HF_TOKEN opens private ones"
    else:
        problem, step = "the server refuses the file", "look at the address in a browser"
    return WeightsError(
        f"{what}: {problem}",
        file=response.url,
        expected=expected,
        found=f"status {status}{f' ({code!r})' if code else ''}",
        next_step=step,
    )


def _unreachable(commit: Commit, file: str, what: str, trouble: str) -> WeightsError:
    from huggingface_hub import constants

    return WeightsError(
        f"{what}: {file} could not be downloaded from {commit}",
        file=f"{constants.ENDPOINT}/{commit.repo}",
        found=trouble,
        next_step="check the connection and run this again; it goes on where it stopped",
    )


def _too_long(url: str, sink: Sink, what: str) -> TooLongError:
    return TooLongError(
        f"{what}: the server sends more than the file can hold",
        file=url,
        expected=f"at most {sink.limit} bytes",
        found="more",
        next_step="check the endpoint (HF_ENDPOINT) and the revision",
    )


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
