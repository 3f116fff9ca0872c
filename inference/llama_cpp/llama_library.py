"""Run llama.cpp through llama-cpp-python: quantize a file, or load one and read tokens and embeddings."""

import ctypes
import os
import weakref
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from argus_processing.storage.foreign_files import ForeignFileError, check_regular

_QUANTIZED = {
    "q8_0": "LLAMA_FTYPE_MOSTLY_Q8_0",
    "q4_0": "LLAMA_FTYPE_MOSTLY_Q4_0",
    "q4_k_m": "LLAMA_FTYPE_MOSTLY_Q4_K_M",
}
_MAGIC = b"GGUF"
_ERROR_LEVEL = 4
_MOST_TEXT = 256
_AMX = b"AMX_INT8 = 1"
_ALL_F32 = "0"  # as the file's metadata tell its type
_errors: list[str] = []  # that the library has told
_listeners: list[Any] = []  # the function that it calls as long as it lives


@cache
def _library() -> Any:
    """Return the functions of llama.cpp; of its messages errors are kept, and none is printed."""
    import llama_cpp

    @llama_cpp.llama_log_callback
    def listen(level: int, text: bytes, _: Any) -> None:
        if level == _ERROR_LEVEL:
            _errors.append(" ".join(text.decode("utf-8", "replace").split()))

    llama_cpp.llama_log_set(listen, ctypes.c_void_p(0))
    _listeners.append(listen)
    llama_cpp.llama_backend_init()
    return llama_cpp


def _told() -> str:
    """Return the first error that the library has told, and forget them all."""
    first = _errors[0][:_MOST_TEXT] if _errors else "it tells no reason"
    _errors.clear()
    return first


def quantize_gguf(source: Path, out: Path, file_type: str) -> None:
    """Write a GGUF file of floats with fewer bits, "q8_0", "q4_0" or "q4_k_m", to `out`.

    Raises:
        OSError: if llama.cpp fails, as on a full disk.
    """
    library = _library()
    options = library.llama_model_quantize_default_params()
    options.ftype = getattr(library, _QUANTIZED[file_type])
    if library.llama_model_quantize(os.fsencode(source), os.fsencode(out), ctypes.byref(options)):
        raise OSError(f"{out}: llama.cpp could not quantize the weights ({_told()})")


class GgufModel:
    """A GGUF file that is loaded, of which any number of contexts read.

    Attributes:
        path: the file.
        num_embeddings: channels of a token's embedding.
        num_tokens: tokens of its vocabulary.
    """

    def __init__(self, path: Path) -> None:
        """Load the file.

        Raises:
            FileNotFoundError: if there is none.
            ForeignFileError: if llama.cpp cannot load it.
        """
        self.path = path
        _check_magic(path)
        library = self._library = _library()
        options = library.llama_model_default_params()
        # llama.cpp as GCC 12 compiles it for processors with AMX ends the process there (its issue 20824). It uses AMX
        # only for weights in an order of their own.
        options.use_extra_bufts = _AMX not in library.llama_print_system_info()
        self._model = library.llama_model_load_from_file(os.fsencode(path), options)
        if not self._model:
            raise ForeignFileError(f"{path}: llama.cpp cannot load it ({_told()}); write it again")
        weakref.finalize(self, library.llama_model_free, self._model)
        self.num_embeddings: int = library.llama_model_n_embd(self._model)
        self.num_tokens: int = library.llama_vocab_n_tokens(library.llama_model_get_vocab(self._model))

    def told(self, key: str) -> str | None:
        """Return a value of the file's metadata as text."""
        text = ctypes.create_string_buffer(_MOST_TEXT)
        length = self._library.llama_model_meta_val_str(self._model, key.encode(), text, _MOST_TEXT)
        return None if length < 0 else text.value.decode("utf-8", "replace")

    def open(self, num_sequences: int, length: int, num_threads: int) -> "GgufContext":
        """Return a context for a number of texts of up to `length` tokens each."""
        return GgufContext(self, self._model, num_sequences, length, num_threads)


def _check_magic(path: Path) -> None:
    check_regular(path)
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise ForeignFileError(f"{path}: is no GGUF file; argus export-gguf writes one")


class GgufContext:
    """Keys and values of texts that a model has read.

    Attributes:
        num_sequences, length: how many texts there may be, and their most tokens.
    """

    def __init__(self, loaded: GgufModel, model: Any, num_sequences: int, length: int, num_threads: int) -> None:
        """Make room for the keys and values.

        Raises:
            MemoryError: if there is not enough memory.
        """
        library = self._library = _library()
        self._loaded, self.num_sequences, self.length = loaded, num_sequences, length
        options = library.llama_context_default_params()
        options.n_ctx, options.n_seq_max = num_sequences * length, num_sequences
        options.n_batch = max(length, num_sequences)
        options.n_threads = options.n_threads_batch = num_threads
        if loaded.told("general.file_type") == _ALL_F32:
            # Keys, values and attention are as exact as the weights; flash attention has 16 bits in between.
            options.type_k = options.type_v = library.GGML_TYPE_F32
            options.flash_attn_type = library.LLAMA_FLASH_ATTN_TYPE_DISABLED
        self._context = library.llama_init_from_model(model, options)
        if not self._context:
            raise MemoryError(f"llama.cpp has no room for {num_sequences} x {length} tokens ({_told()})")
        weakref.finalize(self, library.llama_free, self._context)

    def clear(self) -> None:
        """Forget all texts."""
        self._library.llama_memory_clear(self._library.llama_get_memory(self._context), False)

    def read(
        self, content: Sequence[int] | np.ndarray, sequences: Sequence[int], positions: Sequence[int]
    ) -> np.ndarray:
        """Read tokens, or embeddings `(n, num_embeddings)`; return the logits `(texts, tokens)` after each text's last.

        Args:
            content: what is read.
            sequences: for each of it, the number of its text; those of a text stand together.
            positions: for each, its place in that text.

        Raises:
            RuntimeError: if llama.cpp fails.
        """
        library, count = self._library, len(content)
        is_last = [index + 1 == count or sequences[index + 1] != sequences[index] for index in range(count)]
        embeddings = content if isinstance(content, np.ndarray) else None
        batch = library.llama_batch_init(count, 0 if embeddings is None else self._loaded.num_embeddings, 1)
        try:
            batch.n_tokens = count
            if embeddings is not None:
                exact = np.ascontiguousarray(embeddings, np.float32)
                ctypes.memmove(batch.embd, exact.ctypes.data, exact.nbytes)
            for index in range(count):
                if embeddings is None:
                    batch.token[index] = content[index]
                batch.pos[index], batch.n_seq_id[index] = positions[index], 1
                batch.seq_id[index][0], batch.logits[index] = sequences[index], is_last[index]
            if library.llama_decode(self._context, batch):
                raise RuntimeError(f"llama.cpp could not read {count} tokens ({_told()})")
        finally:
            library.llama_batch_free(batch)
        return np.stack([self._logits(index) for index in range(count) if is_last[index]])

    def _logits(self, index: int) -> np.ndarray:
        pointer = self._library.llama_get_logits_ith(self._context, index)
        return np.ctypeslib.as_array(pointer, (self._loaded.num_tokens,)).copy()
