# Two commands do everything on a fresh machine with Python 3.11: `make demo` and `make test`.
PYTHON ?= python3.11
BIN := .venv/bin
# pip's index for torch, where the default one has no build for this machine, for example
# TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=
TORCH := $(shell sed -n 's/^torch==/torch==/p' envs/requirements.lock | cut -d+ -f1)

.PHONY: setup demo test test-slurm test-kills unit lint docs lock bench-scale bench-overhead bench-register bench-restore bench-segment bench-synthesize bench-unpaired bench-augment clean

setup: .venv/ready

.venv/ready: envs/requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 is needed: make $@ PYTHON=/path/to/python3.11" >&2; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) "$(TORCH)"
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -r envs/requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	ln -sfn workflow/profiles/local local
	ln -sfn workflow/profiles/slurm slurm
	touch $@

demo: setup
	$(BIN)/voxelway phantom demo
	$(BIN)/snakemake --profile local
	@echo "Open demo/results/qc/index.html in a browser."

test: setup lint
	$(BIN)/pytest -n 2 --dist loadgroup tests/unit tests/dag
	$(BIN)/pytest tests/e2e

# a Slurm cluster on this host, as root: Debian's packages are installed, and removed afterwards
test-slurm: setup
	bash tests/slurm/cluster/with.sh $(BIN)/pytest --durations=5 tests/slurm

# twenty kills at random times instead of the five of `make test`; KILLS=n SEED=n for others
KILLS ?= 20
SEED ?= 0

test-kills: setup
	VOXELWAY_KILLS=$(KILLS) VOXELWAY_KILLS_SEED=$(SEED) $(BIN)/pytest tests/dag/test_kills.py

unit: setup
	$(BIN)/pytest -n 2 tests/unit

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile workflow/rules
	$(BIN)/snakemake --lint --config dicom=tests results=build/lint evaluate='{truth: ""}'

# make bench-scale [SUBJECTS="1000 10000"]: what the engine costs, without any computing, beside a
# bare Snakemake workflow of as many jobs
SUBJECTS ?= 1000

bench-scale: setup
	$(BIN)/python -m tests.benchmarks.scale $(SUBJECTS)

# make bench-overhead [SHARDS="0 3"] [CORES=2]: wall time of the demo cohort by the work of its stages,
# and how often models are loaded, with this many sessions a job
SHARDS ?= 0 3
CORES ?= 2

bench-overhead: setup
	$(BIN)/python -m tests.benchmarks.scale.overhead $(SHARDS) --cores $(CORES)

docs: setup
	$(BIN)/python -m workflow.lib.handbook config/README.md

# make bench-register [PAIRS=pairs.tsv] [CORES=2] [METHODS=greedy,adaptive] [MODEL=BUNDLE]
# prints the means; OUT gets a row a pair and method, OUT_labels.tsv one a label as well. Without
# PAIRS it makes pairs of the phantom; `python -m tests.benchmarks.register.pairs -h` makes others.
PAIRS ?=
CORES ?= 2
METHODS ?=
MODEL ?=
OUT ?= build/bench-register.tsv

bench-register: setup build/bench-peers/ready
	$(BIN)/python -m tests.benchmarks.register --cores $(CORES) --out "$(OUT)" \
	  --peers build/bench-peers/bin/python $(if $(PAIRS),--pairs "$(PAIRS)") \
	  $(if $(METHODS),--methods $(METHODS)) $(if $(MODEL),--model "$(MODEL)")

# the peers of the benchmark have an environment of their own, which the lock knows nothing of
build/bench-peers/ready: envs/bench-register.txt
	$(PYTHON) -m venv build/bench-peers
	build/bench-peers/bin/pip install --quiet --disable-pip-version-check $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) "$(TORCH)"
	build/bench-peers/bin/pip install --quiet --disable-pip-version-check -r envs/bench-register.txt
	touch $@

# make bench-restore [IMAGES="a.nii.gz b.nii.gz"] [CORES=2] [METHODS=none,collaborative,bspline] [SEGMENT=yes]
# prints the means over sharp images that are made noisy or thick-sliced; build/bench-restore.tsv
# gets a row an image, task and method. Without IMAGES it makes subjects of the phantom.
IMAGES ?=
SEGMENT ?=

bench-restore: setup build/bench-restore-peers/ready
	$(BIN)/python -m tests.benchmarks.restore $(IMAGES) --cores $(CORES) \
	  $(if $(METHODS),--methods $(METHODS)) $(if $(SEGMENT),--segment)

build/bench-restore-peers/ready: envs/bench-restore.txt
	$(PYTHON) -m venv build/bench-restore-peers
	build/bench-restore-peers/bin/pip install --quiet --disable-pip-version-check -r envs/bench-restore.txt
	touch $@

# make bench-segment [DATA=FOLDER] [STEPS=1000] [FOLD=0] [CORES=2] [METHODS=nnunet,voxelway]
#   [CONFIG=config/training/segment-hippocampus.yaml]
# trains nnU-Net and ours for as many steps on the same cases, and prints both on the others of
# FOLDER/images and FOLDER/labels; build/bench-segment.tsv gets a row a method and case. Without
# DATA it makes subjects of the phantom; without CONFIG ours derives all from the data.
DATA ?=
STEPS ?= 1000
FOLD ?= 0
CONFIG ?=

bench-segment: setup build/bench-segment-peers/ready
	$(BIN)/python -m tests.benchmarks.segment $(if $(DATA),"$(DATA)") --steps $(STEPS) \
	  --fold $(FOLD) --cores $(CORES) $(if $(METHODS),--methods "$(METHODS)") \
	  $(if $(CONFIG),--config "$(CONFIG)")

# without what pip would add: nnU-Net's torchvision wants another torch
build/bench-segment-peers/ready: envs/bench-segment.txt
	$(PYTHON) -m venv build/bench-segment-peers
	build/bench-segment-peers/bin/pip install --quiet --disable-pip-version-check $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) "$(TORCH)"
	build/bench-segment-peers/bin/pip install --quiet --disable-pip-version-check --no-deps -r envs/bench-segment.txt
	touch $@

# make bench-synthesize [DATA=FOLDER] [STEPS=4000] [CORES=2] [METHODS=patch_regression,pix2pix]
# prints how well T2w is made from T1w on subjects kept out of the training, fold by fold:
# build/bench-synthesize.tsv gets a row a method and case. FOLDER holds sub-*_T1w.nii.gz and
# sub-*_T2w.nii.gz (or inplaneT2), which are stripped and aligned first; without it subjects of the
# phantom are made.
bench-synthesize: STEPS = 4000
bench-synthesize: setup
	$(BIN)/python -m tests.benchmarks.synthesize $(if $(DATA),--data "$(DATA)") --steps $(STEPS) \
	  --cores $(CORES) $(if $(METHODS),--methods "$(METHODS)")

# make bench-unpaired [STEPS=400]
# trains cyclegan, gradient_cyclegan and synseg on phantom subjects of whom half have T1w with labels
# and the others T2w without, and prints how the T2w of others is made and segmented;
# build/bench-unpaired.tsv gets a row a measure and case. A run that was cut goes on.
bench-unpaired: STEPS = 400
bench-unpaired: setup
	$(BIN)/python -m tests.benchmarks.synthesize.unpaired --steps $(STEPS)

# make bench-augment DATA=FOLDER [SIZES=5,10,20] [ARMS=none,classical,gan,one_shot] [SEEDS=3]
#   [STEPS=1000] [CASES=50] [CONFIG=config/training/segment-hippocampus.yaml]
# trains a segmenter on so many cases of FOLDER/images and FOLDER/labels with each augmentation, and
# prints its Dice on others; build/bench-augment.tsv gets a row a training, and a run that was cut
# goes on behind it. Generators are trained on the same cases, `one_shot` on scans without labels too.
SIZES ?= 5,10,20
ARMS ?= none,classical,gan,one_shot
SEEDS ?= 3
CASES ?= 50

bench-augment: setup
	$(BIN)/python -m tests.benchmarks.augment "$(DATA)" --sizes $(SIZES) --arms $(ARMS) \
	  --seeds $(SEEDS) --steps $(STEPS) --cases $(CASES) \
	  --config "$(or $(CONFIG),config/training/segment-hippocampus.yaml)"

lock:
	rm -rf .venv-lock && $(PYTHON) -m venv .venv-lock
	.venv-lock/bin/pip install --quiet torch==2.13.0
	.venv-lock/bin/pip install --quiet -r envs/requirements.in
	.venv-lock/bin/pip freeze --exclude-editable | sed 's/^\(torch==[^+]*\)+.*/\1/' > envs/requirements.lock
	rm -rf .venv-lock

clean:
	rm -rf demo .snakemake
