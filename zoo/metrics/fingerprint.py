"""What a result is a function of, as hashes: the tensors of a model and how it was built."""

import hashlib
import json
from collections.abc import Mapping

import torch
from torch import Tensor, nn

__all__ = ["hash_model", "hash_tensors"]


def hash_model(model: nn.Module) -> str:
    """sha256 of a model's class, of the numbers and texts that are its attributes, and its tensors.

    The attributes are there because they change the output too, such as the number of iterations.
    """
    built = {
        name: value
        for name, value in sorted(vars(model).items())
        if isinstance(value, int | float | str) and not name.startswith("_")
    }
    text = json.dumps([type(model).__qualname__, built, hash_tensors(model.state_dict())])
    return hashlib.sha256(text.encode()).hexdigest()


def hash_tensors(tensors: Mapping[str, Tensor]) -> str:
    """sha256 of names, dtypes, shapes and values."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        content = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(content.numpy().tobytes())
    return digest.hexdigest()
