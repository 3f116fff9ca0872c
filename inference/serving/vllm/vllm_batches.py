"""Write the reports of a whole split in vLLM, for `argus evaluate`: the next batch is begun before one is done."""

import asyncio
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import vllm
from vllm import SamplingParams
from vllm.sampling_params import RequestOutputKind

from ...generation import Generated, decode_report, volumes_of
from .vllm_engine import VllmOptions, adapter_request, start_engine
from .vllm_prompts import VllmPrompts, end_tokens

# What a launcher tells each of its processes of its place among them. vLLM's own processes are a group by themselves.
LAUNCHER = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "MASTER_ADDR", "MASTER_PORT")


class VllmBatches:
    """An engine of vLLM that is asked from a thread of its own."""

    ahead = 1

    def __init__(self, engine: Any, processor: Any, ends: set[int], adapter: Any = None) -> None:
        self._engine, self._processor, self._ends, self._adapter = engine, processor, ends, adapter
        model = engine.model_config
        self._prompts = VllmPrompts(processor, model.get_inputs_embeds_size(), model.dtype)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="vllm", daemon=True)
        self._thread.start()

    def preparer(self, volume_cache: Path | None = None) -> Callable[[Sequence[Any], str], list[dict[str, Any]]]:
        """Return the function that preprocesses the scans of a batch."""
        volumes = volumes_of(self._prompts.image_processor, volume_cache)

        def prepare(images: Sequence[Any], instruction: str) -> list[dict[str, Any]]:
            return [self._prompts.prompt(image, instruction, volumes) for image in images]

        return prepare

    def begin(self, inputs: Sequence[dict[str, Any]], max_new_tokens: int) -> Callable[[], list[Generated]]:
        """Send a batch to the engine; the function that is returned waits for its reports."""
        sampling = SamplingParams(
            temperature=0.0, max_tokens=max_new_tokens, output_kind=RequestOutputKind.FINAL_ONLY, detokenize=False
        )
        return asyncio.run_coroutine_threadsafe(self._write_all(inputs, sampling), self._loop).result

    async def _write_all(self, inputs: Sequence[dict[str, Any]], sampling: SamplingParams) -> list[Generated]:
        return list(await asyncio.gather(*(self._write(prompt, sampling) for prompt in inputs)))

    async def _write(self, prompt: dict[str, Any], sampling: SamplingParams) -> Generated:
        answers = self._engine.generate(prompt, sampling, uuid4().hex, lora_request=self._adapter)
        (last,) = [answer async for answer in answers]
        return decode_report(self._processor, list(last.outputs[0].token_ids), self._ends)

    def close(self) -> None:
        """End vLLM's processes and the thread."""
        self._engine.shutdown()
        asyncio.run_coroutine_threadsafe(_end_tasks(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _end_tasks() -> None:
    """Wait for what the engine has cancelled; a loop that ends before would complain of it."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


def vllm_name(options: VllmOptions) -> str:
    """Return what results tell of the engine: vLLM's version, and the adapter's name."""
    return f"vllm {vllm.__version__}" + (f", adapter {options.adapter.name}" if options.adapter else "")


def start_vllm_batches(model_dir: Path, options: VllmOptions) -> VllmBatches:
    """Start vLLM on a model folder; of several processes on a machine each takes a GPU of its own."""
    with _own_place():
        engine, processor = start_engine(model_dir, options)
    return VllmBatches(engine, processor, end_tokens(model_dir), adapter_request(options.adapter))


@contextmanager
def _own_place() -> Iterator[None]:
    """Show to processes that are started meanwhile only the GPU of this process's place, and no other process."""
    before = dict(os.environ)
    place = int(before.get("LOCAL_RANK", "0"))
    for name in LAUNCHER:
        os.environ.pop(name, None)
    if int(before.get("LOCAL_WORLD_SIZE", "1")) > 1:
        visible = before.get("CUDA_VISIBLE_DEVICES")
        os.environ["CUDA_VISIBLE_DEVICES"] = visible.split(",")[place] if visible else str(place)
    try:
        yield
    finally:
        for name in (*LAUNCHER, "CUDA_VISIBLE_DEVICES"):
            if name in before:
                os.environ[name] = before[name]
            else:
                os.environ.pop(name, None)
