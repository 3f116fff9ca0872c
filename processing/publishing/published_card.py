"""Write a model's card anew for publishing: its examples load the model from its repository."""

import re

_LOADED = re.compile(r'((?:from_pretrained\(|\bmodel=)")[^"/]+"')
_REPORTED = re.compile(r"^(argus report \S+ --model )([^/\s]+)$", re.MULTILINE)


def card_of_repository(card: str, repo_id: str) -> str:
    """Return a card whose examples name a repository, where they named a folder; others stay as they are.

    Args:
        card: text of a model's card.
        repo_id: repository, such as "lab/argus-8b-hr"; without an owner it cannot be loaded by that name.
    """
    owner, _, name = repo_id.rpartition("/")
    if not owner or not _LOADED.search(card):
        return card
    card = _LOADED.sub(lambda found: f'{found[1]}{repo_id}"', card)
    return _REPORTED.sub(lambda found: f"hf download {repo_id} --local-dir {name}\n{found[1]}{name}", card)
