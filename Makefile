# `make demo` and `make test` are all a newcomer needs; each builds .venv first if it is not there.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RADEVAL := $(VENV)/radeval
# The extras that the tests try.
TRIED := audit,cache,clinical,evaluate,gguf,hospital,judge,meteor,monai,notebook,qlora,quantized,ray,reader,serve,view
export HF_HUB_OFFLINE := 1
export TOKENIZERS_PARALLELISM := false

.PHONY: demo test-notebook bench-viewer audit-writers ablation-demo pretrain-demo paper-demo series-bench dicom-check test-pacs pacs-bench stress test test-reports test-browser test-metric-packages radeval-environment test-deepspeed test-vllm bench-vllm test-llama-cpp bench-llama-cpp fuzz quality docs evidence-demo test-oldest bench bounds load readme viewer clean

demo: $(VENV)/installed-demo
	$(BIN)/argus demo runs/demo

# Compressors, and one stage against two, on phantoms with four seeds each: under 40 minutes on two cores.
ablation-demo: $(VENV)/installed-demo
	$(BIN)/argus ablate training/recipes/ablations/demo.yaml runs/ablation-demo

# Which metric sees which error, on reports of phantoms; with REPORTS=FILE also on real ones, which stay where they are.
REPORTS ?=
stress: $(VENV)/installed-demo
	$(BIN)/argus stress-metrics runs/stress --phantoms 500
	test -z "$(REPORTS)" || $(BIN)/argus stress-metrics runs/stress_ct_rate --references "$(REPORTS)"

# The changes of `argus stress-metrics` on a file of real reports.
test-reports: $(VENV)/installed
	ARGUS_REPORTS="$(REPORTS)" $(BIN)/pytest tests/evaluation/stress/invariants_of_reports.py

# The paper in small, from phantoms in the layouts of the three downloads to its tables and figures, in runs/paper/: 40
# minutes on two cores. Started again after an interruption, it goes on with what is left.
paper-demo: $(VENV)/installed-paper
	$(BIN)/argus reproduce training/recipes/paper/phantom.yaml runs/paper

# Maps of evidence of the demo's model against phantoms whose findings are known to the voxel, after `make demo`: 7
# minutes on two cores of an AMD EPYC, results in runs/evidence/results.json.
evidence-demo: $(VENV)/installed-demo
	$(BIN)/python bench/bench_evidence.py runs/demo/argus-tiny runs/evidence

# A file's tests stay together, in one of two processes with one thread each.
ON_TWO_CORES := --numprocesses 2 --dist loadfile
test: export OMP_NUM_THREADS := 1
test: $(VENV)/installed
	$(BIN)/pytest $(ON_TWO_CORES)

# The oldest libraries of pyproject.toml's ranges, in an environment of their own of 6 GB; OLDEST_TESTS=tests is all.
OLDEST_TESTS ?= tests/test_import_rules.py tests/modeling_argus/test_modeling_argus.py \
    tests/modeling_argus/test_connector_argus.py tests/modeling_argus/test_presets_argus.py \
    tests/processing/test_processing_argus.py tests/processing/publishing/test_publish_model.py \
    tests/training/test_sft.py
test-oldest: export OMP_NUM_THREADS := 1
test-oldest: $(VENV)-oldest/installed
	$(VENV)-oldest/bin/pytest $(ON_TWO_CORES) $(OLDEST_TESTS)

# niivue, which draws scans in a browser, into the package: 3 MB by the lock file, from the npm registry that npm is set to.
# Neither node nor the environment is needed.
NIIVUE := inference/viewer/niivue/niivue.js
viewer: $(NIIVUE)
$(NIIVUE): inference/viewer/niivue/lock.json
	cd inference && $(PYTHON) -m viewer.build_niivue

# The pages with scans in Chromium, which must be there (Debian: apt-get install chromium); `make test` passes over it.
test-browser: $(VENV)/installed-browser viewer
	ARGUS_REQUIRE_BROWSER=1 $(BIN)/pytest tests/inference/viewer/test_view_browser.py \
		tests/evaluation/reader_study/test_browser.py

# A report's picture and its maps in JupyterLab, in the same browser: minutes, of which most is JupyterLab's start.
test-notebook: $(VENV)/installed-jupyter
	ARGUS_REQUIRE_BROWSER=1 $(BIN)/pytest tests/inference/viewer/test_notebook_browser.py

# A scan of 512x512x300 with its maps on the page in Chromium: seconds and memory, after `make demo`: runs/bench/viewer.json.
bench-viewer: $(VENV)/installed-browser viewer
	PYTHONPATH=bench $(BIN)/python -m serve_bench.bench_viewer runs/demo/argus-tiny runs/bench

# Damaged NIfTI and DICOM files by the ten thousand, the same for the same seed: counts by outcome in runs/fuzz/.
fuzz: $(VENV)/installed
	PYTHONPATH=tests/processing $(BIN)/python tests/fuzz/fuzz_ct_input.py runs/fuzz --examples 24000 --seed 0 --minutes 30

# 1,000 drawn studies in the words of four vendors: which series is read, and how often that is the right one.
series-bench: $(VENV)/installed
	PYTHONPATH=tests/hospital $(BIN)/python -W ignore tests/hospital/series_bench.py runs/series --studies 1000 --seed 0

# Reports on 200 studies with hostile headers, as DICOM; dciodvfy, dsrdump and highdicom read them. Debian's packages
# dicom3tools and dcmtk must be there; `make test` passes over them where they are not.
dicom-check: $(VENV)/installed
	PYTHONPATH=tests/hospital $(BIN)/python tests/hospital/dicom_check.py runs/dicom-check --studies 200

# A real Orthanc, on loopback in a network of its own where the system allows it: studies go in and reports come back,
# while watcher, Orthanc, network and disk fail. Debian: apt-get install orthanc orthanc-dicomweb orthanc-gdcm dcmtk
# dicom3tools. About six minutes; PACS_TESTS=tests/hospital/pacs/orthanc_roundtrip.py is the short part.
PACS_TESTS ?= tests/hospital/pacs/orthanc_roundtrip.py tests/hospital/pacs/orthanc_faults.py
OWN_NETWORK := unshare --map-root-user --net --mount
test-pacs: $(VENV)/installed
	if $(OWN_NETWORK) ip link set lo up 2>/dev/null; then own="$(OWN_NETWORK)"; up="ip link set lo up &&"; fi; \
	ARGUS_REQUIRE_ORTHANC=1 $$own sh -c "$$up exec $(BIN)/pytest $(PACS_TESTS)"

# From the last slice stored to the report readable, and the memory of a watcher over 200 studies: half an hour.
pacs-bench: $(VENV)/installed
	if $(OWN_NETWORK) ip link set lo up 2>/dev/null; then own="$(OWN_NETWORK)"; up="ip link set lo up &&"; fi; \
	PYTHONPATH=tests/hospital:tests/hospital/pacs $$own sh -c "$$up exec $(BIN)/python \
		tests/hospital/pacs/pacs_bench.py $(PACS_MODEL) runs/pacs --studies 200"
PACS_MODEL ?= runs/demo/argus-tiny

quality: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The site of docs/, the docstrings and the command's own help, into site/. A broken link or a warning is an error.
# Of the command's page, typer's list of commands is dropped: it cuts its lines, and the page has a table of contents.
docs: $(VENV)/installed-docs
	$(BIN)/python -m typer argus_cli.main utils docs --name argus --title "Command line" --output docs/command_line.md
	sed -i '/^\*\*Commands\*\*/,/^## /{/^## /!d;}' docs/command_line.md
	$(BIN)/zensical build --strict --clean >$(VENV)/docs.log 2>&1 || { cat $(VENV)/docs.log; exit 1; }
	! grep 'griffe:' $(VENV)/docs.log

bench: $(VENV)/installed-bench
	$(BIN)/python bench/bench_preprocessing.py runs/bench
	$(BIN)/python bench/bench_cache.py runs/bench
	$(BIN)/python bench/bench_vision.py runs/bench
	$(BIN)/python bench/bench_metrics.py runs/bench
	$(BIN)/python bench/bench_stage1.py runs/bench

# What argus serve bears: clients that leave, flood, stall. On 127.0.0.1, a few minutes.
bounds: $(VENV)/installed
	$(BIN)/python bench/bench_serve.py runs/bench

# Many requests together against one after another, 200 at once, 300 for its memory, and a kill, after `make demo`.
load: $(VENV)/installed
	$(BIN)/python bench/bench_serve.py runs/bench --load runs/demo/argus-tiny

# Does the demo's model read the image, beside writers that do not: two minutes, after `make demo`.
audit-writers: $(VENV)/installed
	$(BIN)/python bench/bench_audit.py runs/demo/argus-tiny runs/audit
	$(BIN)/argus audit runs/demo/argus-tiny runs/audit/demo

# One CUDA GPU; no download, about eight minutes. The file says how to run it in an image without this environment.
bench-gpu: $(VENV)/installed
	$(BIN)/python bench/bench_gpu.py runs/bench-gpu

# 3D-MAE and FLIP on phantoms, on two cores: curves, pictures and results.json in runs/pretrain/.
pretrain-demo: $(VENV)/installed-demo
	$(BIN)/python training/pretrain.py --config training/recipes/pretrain/phantom_mae.yaml
	$(BIN)/python training/pretrain.py --config training/recipes/pretrain/phantom_flip.yaml

# The tables of README and docs and the demo's card, out of what was measured in runs/; what is not there stays as it is.
readme: $(VENV)/installed
	$(BIN)/python bench/measured_tables.py README.md docs/ablations.md docs/audit.md docs/metrics_under_stress.md docs/evidence.md docs/speed.md
	test ! -e runs/stress/stress.png || cp runs/stress/stress.png docs/metrics_under_stress.png
	test ! -e runs/demo/results.json || $(BIN)/argus card runs/demo/argus-tiny --results runs/demo/results.json \
		$(foreach file,$(wildcard runs/audit/demo/results.json),--audit $(file)) \
		$(foreach file,$(wildcard runs/evidence/results.json),--evidence $(file)) --out docs/demo_model_card.md

$(VENV)/installed-demo: pyproject.toml setup.cfg constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[meteor]'
	touch $@

# With the cache of preprocessed volumes.
$(VENV)/installed-paper: $(VENV)/installed-demo
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[cache,meteor]'
	touch $@

$(VENV)/installed: pyproject.toml setup.cfg constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[$(TRIED)]' --group test
	touch $@

# Without Triton, which torch brings along: TRL's kernels would ask it for a GPU.
$(VENV)-oldest/installed: pyproject.toml setup.cfg constraints-oldest.txt
	test -x $(VENV)-oldest/bin/python || $(PYTHON) -m venv $(VENV)-oldest
	$(VENV)-oldest/bin/python -m pip install --quiet --upgrade pip
	$(VENV)-oldest/bin/python -m pip install --quiet -c constraints-oldest.txt -e '.[$(TRIED)]' --group test
	$(VENV)-oldest/bin/python -m pip uninstall --quiet --yes triton
	touch $@

$(VENV)/installed-bench: $(VENV)/installed
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[$(TRIED)]' --group test --group bench
	touch $@

$(VENV)/installed-docs: $(VENV)/installed
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[$(TRIED)]' --group test --group docs
	touch $@

$(VENV)/installed-jupyter: $(VENV)/installed-browser
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[$(TRIED)]' --group test --group browser --group jupyter
	touch $@

$(VENV)/installed-browser: $(VENV)/installed
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[$(TRIED)]' --group test --group browser
	touch $@

# For FOLDER/installed: PACKAGES.txt $(VENV)/installed. An environment in FOLDER with these packages, on top of the tested
# one, which it leaves as it is.
define ON_TOP
	$(BIN)/python -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --no-deps -r $<
	$(BIN)/python -c 'import sysconfig; print("import site; site.addsitedir(%r)" % sysconfig.get_path("purelib"))' > \
		"$$($(@D)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/tested.pth"
endef

# The own packages of RaTEScore, CRIMSON and RadMatch beside ours, and scikit-learn; RadEval in another environment.
PACKAGES := $(VENV)/metric-packages
test-metric-packages: $(PACKAGES)/installed $(RADEVAL)/installed
	ARGUS_RADEVAL_PYTHON=$(RADEVAL)/bin/python $(PACKAGES)/bin/python -m pytest \
		tests/evaluation/metrics/clinical/rate_package_parity.py \
		tests/evaluation/metrics/radeval/radeval_parity.py \
		tests/evaluation/metrics/judged/judged_packages.py \
		tests/evaluation/metrics/labels/sklearn_parity.py

$(PACKAGES)/installed: metric-packages.txt $(VENV)/installed
	$(ON_TOP)
	touch $@

# RadEval, for `argus evaluate --clinical radeval --radeval-python .venv/radeval/bin/python`.
radeval-environment: $(RADEVAL)/installed
$(RADEVAL)/installed: radeval-packages.txt $(VENV)/installed
	$(ON_TOP)
	touch $@

# One step under ZeRO-3 with offload, on CPUs, in such an environment; a C++ compiler must be there.
DEEPSPEED := $(VENV)/deepspeed
test-deepspeed $(DEEPSPEED)/installed: export TORCH_EXTENSIONS_DIR := $(abspath $(DEEPSPEED))/compiled
test-deepspeed: $(DEEPSPEED)/installed
	$(DEEPSPEED)/bin/python -m pytest tests/training/deepspeed_training.py

$(DEEPSPEED)/installed: deepspeed-packages.txt $(VENV)/installed
	$(ON_TOP)
	@# The optimizer for the host is compiled once, which takes longer than the tests wait.
	$(DEEPSPEED)/bin/python -c 'from deepspeed.ops.op_builder import CPUAdamBuilder; CPUAdamBuilder().load(verbose=False)' \
		>$(DEEPSPEED)/compiled.log 2>&1 || { cat $(DEEPSPEED)/compiled.log; exit 1; }
	touch $@

# vLLM for CPUs, in such an environment: token ids against transformers', the server, an evaluation. MODEL=FOLDER is
# the model, such as runs/demo/argus-tiny; by default a random one.
VLLM := $(VENV)/vllm
MODEL ?=
ON_CPU := VLLM_CPU_OMP_THREADS_BIND=nobind VLLM_CPU_KVCACHE_SPACE=1 OMP_NUM_THREADS=1
test-vllm: $(VLLM)/installed
	$(ON_CPU) ARGUS_MODEL="$(MODEL)" $(VLLM)/bin/python -m pytest \
		tests/inference/serving/vllm/vllm_parity.py tests/inference/serving/vllm/vllm_processes.py

# One report after another against many together, 300 reports, kill and restart, 200 at once: runs/bench/vllm.json.
bench-vllm: $(VLLM)/installed
	$(ON_CPU) PYTHONPATH=bench $(VLLM)/bin/python -m serve_bench.bench_vllm runs/bench

$(VLLM)/installed: vllm-packages.txt $(VENV)/installed
	$(ON_TOP)
	touch $@

# llama.cpp, compiled for this machine (C++ compiler; ten minutes on two cores), in such an environment: token ids of a GGUF
# file against transformers'. MODEL as above.
LLAMA_CPP := $(VENV)/llama-cpp
test-llama-cpp: export OMP_NUM_THREADS := 1
test-llama-cpp: $(LLAMA_CPP)/installed
	ARGUS_MODEL="$(MODEL)" $(LLAMA_CPP)/bin/python -m pytest tests/inference/llama_cpp

# Agreement with transformers over the demo's test scans, after `make demo`, and tokens per second of a Llama of 1.2 billion
# random parameters: runs/bench/llama_cpp.json. 16 GB of memory; meant for an idle machine.
bench-llama-cpp: $(LLAMA_CPP)/installed
	PYTHONPATH=bench $(LLAMA_CPP)/bin/python -m serve_bench.bench_llama_cpp runs/bench runs/demo

$(LLAMA_CPP)/installed: export CMAKE_ARGS := -DGGML_NATIVE=ON -DLLAVA_BUILD=OFF
$(LLAMA_CPP)/installed: llama-cpp-packages.txt $(VENV)/installed
	$(ON_TOP)
	touch $@

clean:
	rm -rf $(VENV) $(VENV)-oldest runs site docs/command_line.md
