from pipeline.synthesize.learning import presets

# a network's training rests on other code than a patch regression's, and asks for more
METHOD_OF_SYNTHESIS = SETTINGS["synthesize"]["method"]
LEARNS_SYNTHESIS = presets.modules(SETTINGS["synthesize"])
NETWORK_OF_SYNTHESIS = METHOD_OF_SYNTHESIS in presets.PRESETS


rule train_synthesize:
    input:
        training_images("superres", "train", *(["val"] if NETWORK_OF_SYNTHESIS else [])),
    output:
        # a network's checkpoints stand beside the bundle: a retry goes on from them
        trained("synthesize") / "metadata.json",
    log:
        RESULTS.log("train_synthesize"),
    benchmark:
        RESULTS.benchmark("train_synthesize")
    conda:
        "../../envs/voxelway.yaml"
    envmodules:
        "voxelway",
    resources:
        mem_mb=lambda wildcards, attempt: (
            (16000 if NETWORK_OF_SYNTHESIS else 6000) * attempt
        ),
        runtime=lambda wildcards, attempt: (
            24 * 60 if NETWORK_OF_SYNTHESIS else 60 * attempt
        ),
        gpu=1 if NETWORK_OF_SYNTHESIS else 0,
    params:
        *packages_of_modules(*LEARNS_SYNTHESIS),
        bundle=trained("synthesize"),
        results=RESULTS.root,
        config=slice_of("synthesize", "training"),
        code=lambda wildcards: code_of_modules(*LEARNS_SYNTHESIS),
    shell:
        "voxelway train synthesize --results {params.results:q} --out {params.bundle:q}"
        ' --params "$VOXELWAY_TRAIN_SYNTHESIZE" > {log} 2>&1'


rule synthesize:
    input:
        JOBS.after("synthesize", "superres"),
        bundle("synthesize"),
    output:
        target("synthesize"),
    log:
        RESULTS.log("synthesize", JOBS.name("synthesize")),
    benchmark:
        RESULTS.benchmark("synthesize", JOBS.name("synthesize"))
    conda:
        "../../envs/voxelway.yaml"
    envmodules:
        "voxelway",
    resources:
        mem_mb=memory("synthesize"),
        runtime=runtime("synthesize"),
        gpu=gpus("synthesize"),
    params:
        *packages_of("synthesize"),
        results=RESULTS.root,
        config=slice_of("synthesize"),
        code=code_of("synthesize"),
        units=names_of_units("synthesize"),
        decision=decision_on("synthesize"),
        model=model_of("synthesize"),
    shell:
        "voxelway synthesize --results {params.results:q} --unit {params.units}"
        ' --params "$VOXELWAY_SYNTHESIZE" ${{VOXELWAY_MODEL_SYNTHESIZE:+--model "$VOXELWAY_MODEL_SYNTHESIZE"}}'
        " --keep-going > {log} 2>&1"
