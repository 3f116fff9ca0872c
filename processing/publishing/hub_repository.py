"""Put a folder into a repository of the Hub as one commit: private unless asked otherwise, errors told in one line.

An upload that was interrupted goes on when it is started again: files that are there already are not sent twice.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)
from huggingface_hub.utils import filter_repo_objects

from ..storage.card_file import CARD

_LOGIN = "log in by `hf auth login` or set HF_TOKEN to a token that may write there"
_AGAIN = "the folder is as it was, and the same command goes on"
# The Hub writes it into each repository: which files it stores as large ones.
_OF_THE_HUB = ".gitattributes"


class _RefusedError(ValueError):
    """Error of a check here, whose text is whole already."""


@dataclass(frozen=True)
class FolderToPublish:
    """A folder that may be published, as an upload would show it.

    Attributes:
        folder: folder of a model, or of the staged parts of a data set.
        sizes: bytes of each file, by name.
        card: text of its card, as it is published.
    """

    folder: Path
    sizes: dict[str, int]
    card: str


@dataclass(frozen=True)
class Destination:
    """The place on the Hub to which a folder goes.

    Attributes:
        repo_id: repository, such as "lab/argus-8b-hr"; without an owner, it is that of the token.
        public: make the repository public if it is new, and accept one that is.
        revision: branch to upload to, made if it is not there. Default: the repository's main branch.
        tag: name that the uploaded state gets too. Default: none.
        token: token that may write there. Default: that of `hf auth login` or HF_TOKEN.
    """

    repo_id: str
    public: bool = False
    revision: str | None = None
    tag: str | None = None
    token: str | None = field(default=None, repr=False)


def check_can_upload(to: Destination) -> None:
    """Check what can be known before hours of work whose result is to be uploaded: the token, and what is there.

    Raises:
        ValueError: if the Hub does not answer, the token is unknown or only reads, or the repository is public and that
            was not asked for.
    """
    api = HfApi(token=to.token)
    with _telling(to.repo_id):
        known_as = api.whoami()
        if (known_as.get("auth", {}).get("accessToken") or {}).get("role") == "read":
            raise _RefusedError(f"{to.repo_id}: the token only reads; {_LOGIN}")
        owner = "" if "/" in to.repo_id else f"{known_as['name']}/"
        try:
            known = api.repo_info(f"{owner}{to.repo_id}")
        except RepositoryNotFoundError:
            return
        _check_private(to, bool(known.private))


def upload(checked: FolderToPublish, to: Destination, repo_type: str, message: str, replaced: Sequence[str]) -> str:
    """Upload the files of a folder that were checked; return the repository's address.

    Args:
        checked: the folder, and the names of its files.
        to: repository and revision.
        repo_type: "model" or "dataset".
        message: the commit's message.
        replaced: patterns of files that are removed there if they are not in the folder, such as shards of before.

    Raises:
        ValueError: if the repository is public and that was not asked for, the tag names another state, or the Hub
            refuses or cannot be reached.
    """
    api = HfApi(token=to.token)
    with _telling(to.repo_id):
        address = api.create_repo(to.repo_id, repo_type=repo_type, private=not to.public, exist_ok=True)
        place: dict[str, Any] = {"repo_id": address.repo_id, "repo_type": repo_type}
        _check_private(to, bool(api.repo_info(**place).private))
        if to.revision:
            api.create_branch(**place, branch=to.revision, exist_ok=True)
        commit = _commit(api, place, to.revision, checked, message, replaced)
        if to.tag:
            _tag(api, place, to.tag, commit)
    return str(address)


def _check_private(to: Destination, is_private: bool) -> None:
    if not to.public and not is_private:
        raise _RefusedError(f"{to.repo_id}: is public; ask for that (--public), or name another repository")


def _commit(
    api: HfApi,
    place: dict[str, Any],
    revision: str | None,
    checked: FolderToPublish,
    message: str,
    replaced: Sequence[str],
) -> str:
    """Put all files into one commit, without those that they replace; return its id.

    `upload_folder` would split a folder that takes long into several commits: whoever downloads between two of them
    gets parts of two models. Data that a start before has sent is not sent again, by either of the client's ways (Xet
    where `hf_xet` is installed, LFS elsewhere).
    """
    before = api.repo_info(**place, revision=revision).sha
    there = api.list_repo_files(**place, revision=before)
    gone = [name for name in there if name not in checked.sizes and name != _OF_THE_HUB]
    operations: list[CommitOperationAdd | CommitOperationDelete] = [
        *(CommitOperationDelete(name) for name in filter_repo_objects(gone, allow_patterns=list(replaced))),
        *(CommitOperationAdd(name, checked.folder / name) for name in checked.sizes if name != CARD),
        CommitOperationAdd(CARD, checked.card.encode()),
    ]
    # With its parent, a commit is refused if another upload came between.
    made = api.create_commit(
        **place, operations=operations, commit_message=message, revision=revision, parent_commit=before
    )
    return made.oid


def _tag(api: HfApi, place: dict[str, Any], tag: str, commit: str) -> None:
    """Give a commit a tag; one that it has already, from a start before, is no error."""
    known = {ref.name: ref.target_commit for ref in api.list_repo_refs(**place).tags}
    if tag not in known:
        api.create_tag(**place, tag=tag, revision=commit)
    elif known[tag] != commit:
        raise _RefusedError(
            f"{place['repo_id']}: its tag {tag} names another state; this one is uploaded, without a tag"
        )


@contextmanager
def _telling(repo_id: str) -> Iterator[None]:
    """Turn errors of the Hub's client, which take several lines, into one line that says what to do.

    Raises:
        ValueError: naming the repository and the cause.
    """
    try:
        yield
    except _RefusedError:
        raise
    except Exception as error:
        # Uploads run in threads, whose errors wrap those of the connection.
        told = _cause(error) or _cause(error.__cause__)
        if told is None and isinstance(error, RuntimeError | OSError | ValueError):
            told = f"the upload stopped ({_short(error)}); {_AGAIN}"
        if told is None:
            raise
        raise ValueError(f"{repo_id}: {told}") from error


def _cause(error: BaseException | None) -> str | None:
    """Describe an error of the Hub's client; None for any other."""
    match error:
        case LocalTokenNotFoundError():
            return f"there is no token for the Hub; {_LOGIN}"
        case OfflineModeIsEnabled():
            return "HF_HUB_OFFLINE forbids the network; unset it to upload"
        case HFValidationError():
            return f"is no name of a repository ({_short(error)})"
        case HfHubHTTPError() if error.response.status_code in (401, 403):
            return f"the Hub does not let this token write there ({error.response.status_code}); {_LOGIN}"
        case HfHubHTTPError() if error.response.status_code in (409, 412):
            return f"another upload came between; {_AGAIN}"
        case HfHubHTTPError() if error.response.status_code == 429:
            return f"the Hub takes no more requests for now (429); wait some minutes: {_AGAIN}"
        case HfHubHTTPError():
            return f"the Hub answered {error.response.status_code} ({_short(error)}); {_AGAIN}"
    # The client's transport is httpx or, in later versions, httpx2.
    if type(error).__module__.startswith("httpx"):
        return f"the Hub cannot be reached ({type(error).__name__}); {_AGAIN}"
    return None


def _short(error: BaseException) -> str:
    return " ".join(str(getattr(error, "server_message", None) or error).split())[:200]
