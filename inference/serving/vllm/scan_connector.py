"""Fetch scans for `vllm serve`: chosen by VLLM_MEDIA_CONNECTOR=argus, with the rules of `argus serve`."""

import asyncio
from typing import Any

import torch
from vllm.multimodal.media import MEDIA_CONNECTOR_REGISTRY, MediaConnector

from argus_processing import CTVolume

from ..sent_embeddings import MEDIA_TYPE, read_embeddings
from ..serve_requests import AllowedScans


@MEDIA_CONNECTOR_REGISTRY.register("argus")
class ScanConnector(MediaConnector):
    """Connector that fetches scans where vLLM fetches pictures, each read in a process of its own.

    A `file://` address must lie below vLLM's `--allowed-local-media-path`; nothing is fetched from http addresses.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._allowed_scans = AllowedScans(self.allowed_local_media_path)

    def fetch_image(self, image_url: str, *, image_mode: str | None = "RGB") -> CTVolume | torch.Tensor:
        """Read a scan.

        Raises:
            RefusedError: in one line, if it may not be read or is no CT.
        """
        return self._allowed_scans.read(image_url)

    async def fetch_image_async(self, image_url: str, *, image_mode: str | None = "RGB") -> CTVolume | torch.Tensor:
        """Read a scan in a thread."""
        return await asyncio.to_thread(self.fetch_image, image_url)

    def fetch_image_embedding(self, data: str) -> torch.Tensor:
        """Read a scan's visual tokens from safetensors in base64; vLLM's own way would unpickle them."""
        return read_embeddings(f"data:{MEDIA_TYPE};base64,{data}")

    async def fetch_image_embedding_async(self, data: str) -> torch.Tensor:
        """Read a scan's visual tokens in a thread."""
        return await asyncio.to_thread(self.fetch_image_embedding, data)
